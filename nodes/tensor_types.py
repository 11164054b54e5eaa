"""Types of tensors, as torch names them and as the safetensors format does."""

FORMAT_NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
                "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32",
                "uint64": "U64", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
"""The format's name of each of torch's types that it holds."""
TORCH_NAMES = {word: name for name, word in FORMAT_NAMES.items()}
