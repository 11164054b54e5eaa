"""Every name that the contract lists for packs, and what calling it does: the table of `test_contract_names.py`.

`OFFERED` holds an expression for each name that does something, with its value; `ABSENT` the names that can only be
named. In expressions `t` is torch, `x` a scratch namespace, `tmp` a folder.
"""

ABSENT: dict[str, str] = {
    "comfy.sd": "VAE CLIP load_checkpoint_guess_config load_lora_for_models load_clip load_unet",
    "comfy.samplers": "CFGGuider KSAMPLER sampler_object calc_cond_batch KSampler",
    "comfy.sample": "sample sample_custom fix_empty_latent_channels",
    "comfy.sampler_helpers": "prepare_sampling cleanup_models convert_cond",
    "comfy.lora": "load_lora model_lora_keys_unet model_lora_keys_clip",
    "comfy.ops": "disable_weight_init manual_cast cast_bias_weight",
    "comfy.model_patcher": "ModelPatcher",
    "comfy.model_base": "BaseModel SDXL",
    "comfy.model_sampling": "EPS V_PREDICTION ModelSamplingDiscrete",
    "comfy.model_detection": "detect_unet_config model_config_from_unet",
    "comfy.controlnet": "ControlNet ControlLora T2IAdapter load_controlnet",
    "comfy.clip_vision": "ClipVisionModel load",
    "comfy.conds": "CONDRegular CONDCrossAttn CONDConstant CONDNoiseShape",
    "comfy.patcher_extension": "WrappersMP CallbacksMP WrapperExecutor add_wrapper_with_key",
    "comfy.hooks": "Hook HookGroup",
    "comfy.k_diffusion.sampling": "sample_euler get_sigmas_karras BrownianTreeNoiseSampler anything_else",
    "comfy.ldm.modules.attention": "optimized_attention CrossAttention",
    "comfy.ldm.any.model.ever": "Anything something",
    "comfy.supported_models": "SD15 SDXL",
    "comfy.supported_models_base": "BASE",
    "comfy.sd1_clip": "SD1ClipModel token_weights",
    "comfy.sdxl_clip": "SDXLClipModel",
    "comfy.text_encoders.t5": "T5",
    "comfy.cldm.cldm": "ControlNet",
    "comfy.taesd.taesd": "TAESD",
    "comfy.quant_ops": "QuantizedTensor",
    "comfy.utils": "unet_to_diffusers mmdit_to_diffusers flux_to_diffusers",
    "comfy.model_management": "LoadedModel",
    "comfy_execution.caching": "BasicCache HierarchicalCache LRUCache DependencyAwareCache CacheKeySet "
                               "CacheKeySetID CacheKeySetInputSignature",
    "comfy_execution.graph": "ExecutionList",
    "comfy_extras.nodes_upscale_model": "ImageUpscaleWithModel UpscaleModelLoader",
    "comfy_extras.nodes_custom_sampler": "Noise_RandomNoise",
    "comfy_extras.nodes_clip_sdxl": "CLIPTextEncodeSDXL CLIPTextEncodeSDXLRefiner",
    "comfy_extras.nodes_differential_diffusion": "DifferentialDiffusion",
    "comfy_extras.chainner_models.model_loading": "load_state_dict",
    "comfy_extras.nodes_latent": "LatentAdd LatentMultiply",
    "latent_preview": "TAESDPreviewerImpl",
    "app.user_manager": "UserManager",
    "app.frontend_management": "FrontendManager",
    "execution": "execute get_output_data get_output_from_returns",
    "nodes": "common_ksampler",
}

ABSENT_NODES = (
    "CLIPTextEncode LoraLoader VAEEncode VAEDecode VAEDecodeTiled CheckpointLoaderSimple ControlNetApply "
    "ControlNetApplyAdvanced ControlNetLoader CLIPSetLastLayer CLIPVisionLoader UNETLoader InpaintModelConditioning "
    "KSampler KSamplerAdvanced unCLIPCheckpointLoader VAEEncodeForInpaint")

ABSENT_COROUTINES = {"nodes": "load_custom_node init_external_custom_nodes init_extra_nodes"}

MODULES = (
    "comfy comfy.utils comfy.model_management comfy.cli_args comfy.options comfy.comfy_types "
    "comfy.comfy_types.node_typing comfy.samplers comfy.latent_formats comfy_execution comfy_execution.graph "
    "comfy_execution.graph_utils comfy_execution.utils comfy_execution.progress comfy_execution.validation "
    "node_helpers comfyui_version protocol latent_preview utils.extra_config utils.json_util folder_paths "
    "comfy_extras comfy_extras.nodes_mask comfy_extras.nodes_latent comfy_extras.nodes_compositing server nodes "
    "execution nest_asyncio model_management")

OPTIONS = (
    "listen port tls-keyfile tls-certfile enable-cors-header max-upload-size base-directory "
    "extra-model-paths-config output-directory temp-directory input-directory user-directory models-directory "
    "preview-method preview-size cache-classic cache-lru cache-none cache-ram high-ram disable-metadata "
    "disable-all-custom-nodes whitelist-custom-nodes disable-api-nodes multi-user verbose log-stdout "
    "front-end-version front-end-root enable-compress-response-body comfy-api-base database-url "
    "default-hashing-function date-based-output date-output-format feature-flag list-feature-flags "
    "disable-assets enable-assets enable-asset-hashing disable-partner-nodes offline disabled-nodes-config "
    "enable-manager disable-manager-ui enable-manager-legacy-ui normalvram cuda-device default-device "
    "fp16-intermediates fp8_e8m0fnu-unet supports-fp8-compute enable-triton-backend disable-triton-backend "
    "use-ck-attention vram-headroom disable-nvml-pressure async-offload disable-async-offload "
    "enable-dynamic-vram disable-dynamic-vram fast-disk disable-fast-disk disable-cuda-graphs "
    "disable-comfy-compiler assert-graph-breaks disable-pinned-memory mmap-torch-files disable-mmap debug-hang "
    "force-non-blocking fast gpu-only highvram cpu ")
"""Options that the host accepts, without their dashes."""

OFFERED: dict[str, list[tuple[str, object]]] = {
    "comfy.utils": [
        ("[*comfy.utils.common_upscale(t.rand(1, 3, 4, 6), 12, 8, 'lanczos', 'center').shape]", [1, 3, 8, 12]),
        ("comfy.utils.ProgressBar(4).total", 4),
        ("(comfy.utils.set_progress_bar_global_hook(print), comfy.utils.ProgressBar(1).hook is print, "
         "comfy.utils.set_progress_bar_global_hook(None), comfy.utils.PROGRESS_BAR_HOOK)[1::2]", [True, None]),
        ("(comfy.utils.set_progress_bar_enabled(False), comfy.utils.PROGRESS_BAR_ENABLED)[1]", False),
        ("comfy.utils.get_attr(x(a=x(b=3)), 'a.b')", 3),
        ("(setattr(x, 'o', x(a=x(b=3))), comfy.utils.set_attr(x.o, 'a.b', 4), x.o.a.b)[1:]", [3, 4]),
        ("(setattr(x, 'o', t.nn.Linear(2, 1)), comfy.utils.set_attr_param(x.o, 'bias', t.ones(1)), "
         "x.o.bias.requires_grad, x.o.bias.item())[2:]", [False, 1.0]),
        ("(setattr(x, 'o', t.nn.Linear(2, 1)), comfy.utils.copy_to_param(x.o, 'bias', t.full((1,), 7.)), "
         "x.o.bias.item())[2]", 7.0),
        ("comfy.utils.repeat_to_batch_size(t.tensor([1, 2, 3]), 5).tolist()", [1, 2, 3, 1, 2]),
        ("comfy.utils.repeat_to_batch_size(t.tensor([[1, 2, 3]]), 2, dim=1).tolist()", [[1, 2]]),
        ("comfy.utils.resize_to_batch_size(t.arange(5), 3).tolist()", [0, 2, 4]),
        ("comfy.utils.resize_to_batch_size(t.arange(2), 4).tolist()", [0, 0, 1, 1]),
        ("[*comfy.utils.reshape_mask(t.ones(1, 4, 4), (2, 3, 8, 6)).shape]", [2, 3, 8, 6]),
        ("[*comfy.utils.bislerp(t.rand(1, 4, 4, 4), 6, 8).shape]", [1, 4, 8, 6]),
        ("[*comfy.utils.lanczos(t.rand(1, 3, 4, 4), 6, 8).shape]", [1, 3, 8, 6]),
        ("comfy.utils.get_tiled_scale_steps(100, 64, 64, 64, 8)", 2),
        ("float((comfy.utils.tiled_scale(x.i, lambda tile: tile.repeat_interleave(2, 2).repeat_interleave(2, 3), "
         "tile_x=5, tile_y=4, overlap=2, upscale_amount=2) - x.i.repeat_interleave(2, 2).repeat_interleave(2, 3))"
         ".abs().max()) < 1e-5", True),
        ("[*comfy.utils.tiled_scale_multidim(t.rand(1, 2, 9), lambda tile: tile[:, :1], tile=(4,), overlap=1, "
         "upscale_amount=1, out_channels=1).shape]", [1, 1, 9]),
        ("comfy.utils.state_dict_prefix_replace({'a.x': 1, 'c': 2}, {'a.': 'b.'})", {"c": 2, "b.x": 1}),
        ("comfy.utils.state_dict_prefix_replace({'a.x': 1, 'c': 2}, {'a.': 'b.'}, filter_keys=True)", {"b.x": 1}),
        ("comfy.utils.state_dict_key_replace({'a': 1}, {'a': 'b', 'n': 'm'})", {"b": 1}),
        ("comfy.utils.calculate_parameters({'a.x': t.zeros(2, 3), 'b': t.zeros(9)}, 'a.')", 6),
        ("str(comfy.utils.weight_dtype({'a': t.zeros(2).half(), 'b': t.zeros(1)}))", "torch.float16"),
        ("str(comfy.utils.convert_sd_to({'a': t.zeros(2)}, t.float16)['a'].dtype)", "torch.float16"),
        ("(comfy.utils.save_torch_file({'w': x.i, 'n': t.arange(3)}, tmp + '/w.safetensors', {'k': 'v'}), "
         "comfy.utils.load_torch_file(tmp + '/w.safetensors')['w'].equal(x.i), "
         "comfy.utils.load_torch_file(tmp + '/w.safetensors', return_metadata=True)[1])[1:]", [True, {"k": "v"}]),
        ("b'data_offsets' in comfy.utils.safetensors_header(tmp + '/w.safetensors')", True),
        ("comfy.utils.safetensors_header(tmp + '/w.safetensors', max_size=3)", None),
        ("(t.save({'state_dict': {'w': t.ones(1)}}, tmp + '/w.ckpt'), "
         "[*comfy.utils.load_torch_file(tmp + '/w.ckpt', safe_load=True)])[1]", ["w"]),
        ("sorted(comfy.utils.UNET_MAP_BASIC)", []),
    ],
    "comfy.model_management": [
        (f"comfy.model_management.{call}", value) for call, value in [
            ("get_torch_device().type", "cpu"), ("intermediate_device().type", "cpu"), ("soft_empty_cache(True)", None),
            ("unload_all_models()", None), ("throw_exception_if_processing_interrupted()", None),
            ("processing_interrupted()", False), ("interrupt_current_processing(False)", None),
            ("InterruptProcessingException.__mro__[1].__name__", "Exception"),
            ("OOM_EXCEPTION is t.OutOfMemoryError", True), ("get_free_memory() > 0", True),
            ("get_free_memory(torch_free_too=True)[1] > 0", True), ("get_total_memory(torch_total_too=True)[0] > 0",
             True),
            ("get_torch_device_name(t.device('cpu'))", "cpu"), ("is_device_mps('mps')", True),
            ("is_device_cpu(t.device('cpu'))", True), ("is_device_cuda(t.device('cpu'))", False),
            ("is_intel_xpu()", False), ("cpu_mode()", True), ("is_nvidia()", False), ("cpu_state.name", "CPU"),
            ("vram_state.name", "DISABLED"), ("VRAMState.NORMAL_VRAM.value", 3), ("CPUState.MPS.value", 2),
            ("torch_version == str(t.__version__)", True), ("directml_enabled", False),
            ("unet_offload_device().type", "cpu"), ("unet_dtype() == t.float32", True), ("vae_device().type", "cpu"),
            ("vae_offload_device().type", "cpu"), ("vae_dtype() == t.float32", True),
            ("text_encoder_device().type", "cpu"), ("text_encoder_offload_device().type", "cpu"),
            ("text_encoder_dtype() == t.float32", True), ("should_use_fp16()", False), ("should_use_bf16()", False),
            ("get_autocast_device(t.device('cpu'))", "cpu"), ("is_directml_enabled()", False),
            ("xformers_enabled()", False), ("cast_to(t.ones(1), t.float16).dtype == t.float16", True),
            ("cast_to_device(t.ones(1), t.device('cpu'), t.float16).dtype == t.float16", True),
            ("dtype_size(t.float16)", 2), ("module_size(t.nn.Linear(2, 1))", 12),
            ("maximum_vram_for_weights() > 0", True), ("device_supports_non_blocking(t.device('cpu'))", False),
            ("load_models_gpu([t.nn.Linear(1, 1)])", None), ("load_model_gpu(t.nn.Linear(1, 1))", None),
            ("free_memory(1, None)", []), ("current_loaded_models", []), ("cleanup_models()", None),
            ("cleanup_models_gc()", None)]],
    "comfy.cli_args": [
        ("[comfy.cli_args.args.listen, comfy.cli_args.args.port, sorted(comfy.cli_args.args.fast)]",
         ["127.0.0.1", 8188, []]),
        ("[one.value for one in comfy.cli_args.LatentPreviewMethod]", ["none", "auto", "latent2rgb", "taesd"]),
        ("comfy.cli_args.args.preview_method is comfy.cli_args.LatentPreviewMethod.NoPreviews", True),
    ],
    "comfy.options": [("(comfy.options.enable_args_parsing(), comfy.options.args_parsing)[1]", True)],
    "comfy.comfy_types": [
        ("[comfy.comfy_types.IO.ANY != 'IMAGE', comfy.comfy_types.IO.INT != 'FLOAT', "
         "comfy.comfy_types.IO.NUMBER != 'INT', str(comfy.comfy_types.IO.PRIMITIVE)]",
         [False, True, False, "STRING,FLOAT,INT,BOOLEAN"]),
        ("comfy.comfy_types.CheckLazyMixin().check_lazy_status(a=None, b=1)", ["a"]),
        ("[type(comfy.comfy_types.ComfyNodeABC).__name__, comfy.comfy_types.FileLocator(filename='a')['filename']]",
         ["ABCMeta", "a"]),
        ("comfy.comfy_types.InputTypeDict(required={})", {"required": {}}),
        ("[str(comfy.comfy_types.node_typing.StrEnum('E', {'A': 'a'}).A), "
         "comfy.comfy_types.node_typing.InputTypeOptions(min=1), "
         "comfy.comfy_types.node_typing.HiddenInputTypeDict(prompt='PROMPT')]", ["a",
          {"min": 1}, {"prompt": "PROMPT"}]),
    ],
    "comfy.samplers": [
        ("['euler' in comfy.samplers.KSampler.SAMPLERS, 'karras' in comfy.samplers.KSampler.SCHEDULERS]", [True, True]),
        ("comfy.samplers.SAMPLER_NAMES is comfy.samplers.KSampler.SAMPLERS", True),
        ("[*comfy.samplers.SCHEDULER_HANDLERS] == comfy.samplers.SCHEDULER_NAMES", True),
        ("(comfy.samplers.SCHEDULER_NAMES.append('mine'), "
         "'mine' in nodes.KSampler.INPUT_TYPES()['required']['scheduler'][0])[1]", True),
    ],
    "comfy.sample": [
        ("comfy.sample.prepare_noise(x.i, 3).equal(comfy.sample.prepare_noise(x.i, 3))", True),
        ("[*comfy.sample.prepare_noise(t.zeros(2, 4, 3, 3), 3, [1, 1]).shape]", [2, 4, 3, 3]),
    ],
    "comfy.sd": [("comfy.sd.CLIPType.STABLE_DIFFUSION.value", 1)],
    "comfy.model_base": [("comfy.model_base.ModelType.FLOW.name", "FLOW")],
    "comfy.latent_formats": [
        ("[comfy.latent_formats.SD15().latent_channels, comfy.latent_formats.Flux().latent_channels]", [4, 16]),
        ("float(comfy.latent_formats.SD3().process_out(comfy.latent_formats.SD3().process_in(t.tensor(2.))))", 2.0),
    ],
    "comfy_execution.graph": [
        ("comfy_execution.graph.DynamicPrompt({'1': {'class_type': 'A', 'inputs': {}}}).get_node('1')['class_type']",
         "A"),
        ("(setattr(x, 'p', comfy_execution.graph.DynamicPrompt({'1': {}})), x.p.override_node('1', {'b': 1}), "
         "x.p.get_node('1'), x.p.get_original_prompt())[2:]", [{"b": 1}, {"1": {}}]),
        ("[*comfy_execution.graph.get_input_info(nodes.ImageScale, 'width')][1]", "required"),
        ("comfy_execution.graph.ExecutionBlocker('why').message", "why"),
        ("[issubclass(one, Exception) for one in (comfy_execution.graph.DependencyCycleError, "
         "comfy_execution.graph.NodeInputError, comfy_execution.graph.NodeNotFoundError)]", [True] * 3),
        ("(setattr(x, 's', comfy_execution.graph.TopologicalSort(comfy_execution.graph.DynamicPrompt("
         "{'1': {'class_type': 'A', 'inputs': {}}, '2': {'class_type': 'A', 'inputs': {'a': ['1', 0]}}}))), "
         "x.s.add_node('2'), x.s.get_ready_nodes(), x.s.pop_node('1'), x.s.get_ready_nodes(), x.s.pop_node('2'), "
         "x.s.is_empty())[2::2]", [["1"], ["2"], True]),
    ],
    "comfy_execution.graph_utils": [
        ("comfy_execution.graph_utils.is_link(['1', 0])", True),
        ("[*comfy_execution.graph_utils.GraphBuilder(prefix='p.').node('A', b=1).serialize()['inputs']]", ["b"]),
        ("comfy_execution.graph_utils.Node('1', 'A', {}).out(2)", ["1", 2]),
        ("comfy_execution.graph_utils.add_graph_prefix({'1': {'inputs': {}}}, [], 'p.')[0]", {"p.1": {"inputs": {}}}),
        ("comfy_execution.graph_utils.ExecutionBlocker is comfy_execution.graph.ExecutionBlocker", True),
    ],
    "comfy_execution.utils": [
        ("comfy_execution.utils.get_executing_context()", None),
        ("(setattr(x, 'c', comfy_execution.utils.CurrentNodeContext('p', '1', 2)), x.c.__enter__(), "
         "[*comfy_execution.utils.get_executing_context()], [*comfy_execution.utils.current_executing_context.get()], "
         "x.c.__exit__())[2:4]", [["p", "1", 2], ["p", "1", 2]]),
    ],
    "comfy_execution.progress": [
        ("[one.value for one in comfy_execution.progress.NodeState]", ["pending", "running", "finished", "error"]),
        ("(comfy_execution.progress.reset_progress_state('p', None), comfy_execution.progress.get_progress_state()"
         ".ensure_entry('1')['max'])[1]", 1),
        ("comfy_execution.progress.NodeProgressState(value=1)", {"value": 1}),
        ("comfy_execution.progress.add_progress_handler(comfy_execution.progress.CLIProgressHandler())", None),
        ("comfy_execution.progress.WebUIProgressHandler(None).enabled", True),
        ("(lambda r: [r[4], r[6], r[9], r[11], r[15]])((setattr(x, 'r', "
         "comfy_execution.progress.ProgressRegistry('p', None)), "
         "setattr(x, 'h', comfy_execution.progress.ProgressHandler('h')), x.r.register_handler(x.h), "
         "x.r.disable_handler('h'), x.h.enabled, x.r.enable_handler('h'), x.h.enabled, x.r.start_progress('1'), "
         "x.r.update_progress('1', 2, 4), dict(x.r.nodes['1'])['value'], x.r.finish_progress('1'), "
         "x.r.nodes['1']['value'], x.r.set_activity('1', 'x'), x.r.reset_handlers(), x.r.unregister_handler('h'), "
         "x.r.handlers))", [False, True, 2, 4, {}]),
    ],
    "comfy_execution.validation": [
        (f"comfy_execution.validation.validate_node_input({given})", value) for given, value in [
            ("'INT', 'INT'", True), ("'INT', 'FLOAT'", False), ("'INT', 'FLOAT,INT'", True), ("'*', 'INT'", True),
            ("'INT,MASK', 'INT'", True), ("'INT,MASK', 'INT', True", False), ("'INT', 'INT,MASK', True", True),
            ("['a'], 'INT'", False)]],
    "node_helpers": [
        ("node_helpers.conditioning_set_values([[1, {'a': 1}]], {'a': 2, 'b': 3})", [[1, {"a": 2, "b": 3}]]),
        ("node_helpers.conditioning_set_values([[1, {'a': [1]}]], {'a': [2]}, append=True)", [[1, {"a": [1, 2]}]]),
        ("node_helpers.pillow(lambda name: name + '!', 'a')", "a!"),
        ("node_helpers.hasher()(b'').name", "sha256"),
        ("str(node_helpers.string_to_torch_dtype('bf16'))", "torch.bfloat16"),
        ("[one.shape[-1] for one in node_helpers.image_alpha_fix(t.zeros(1, 2, 2, 4), t.zeros(1, 2, 2, 3))]", [4, 4]),
        ("[one.shape[-1] for one in node_helpers.image_alpha_fix(t.zeros(1, 2, 2, 3), t.zeros(1, 2, 2, 4))]", [3, 3]),
    ],
    "comfyui_version": [("len(comfyui_version.__version__.split('.'))", 3)],
    "protocol": [("protocol.BinaryEventTypes.PREVIEW_IMAGE_WITH_METADATA", 4),
                 ("protocol.BinaryEventTypes is server.BinaryEventTypes", True)],
    "latent_preview": [
        ("latent_preview.get_previewer(None, None)", None),
        ("(setattr(x, 'd', {}), latent_preview.prepare_callback(None, 4, x.d)(1, 'x0', 'x', 4), x.d)[2]", {"x0": "x0"}),
        ("latent_preview.LatentPreviewer().decode_latent_to_preview(None)", None),
        ("latent_preview.Latent2RGBPreviewer([[1., 0., 0.], [0., 1., 0.]]).decode_latent_to_preview("
         "t.zeros(1, 2, 3, 4)).size", [4, 3]),
        ("latent_preview.preview_to_image(t.ones(2, 3, 3)).getpixel((0, 0))", [255, 255, 255]),
        ("latent_preview.MAX_PREVIEW_RESOLUTION", 512),
    ],
    "utils.extra_config": [
        ("(open(tmp + '/e.yaml', 'w').write('a:\\n  loras: /l\\n'), utils.extra_config.load_extra_path_config("
         "tmp + '/e.yaml'), '/l' in folder_paths.get_folder_paths('loras'))[2]", True)],
    "utils.json_util": [
        ("utils.json_util.merge_json_recursive({'a': {'b': [1]}, 'c': 1}, {'a': {'b': [2]}, 'c': 2})",
         {"a": {"b": [1, 2]}, "c": 2})],
    "folder_paths": [
        ("folder_paths.get_filename_list('loras')", []), ("folder_paths.get_full_path('no', 'a')", None),
        ("'loras' in folder_paths.folder_names_and_paths", True), ("folder_paths.models_dir == tmp + '/models'", True),
        ("folder_paths.base_path == tmp", True), ("folder_paths.__file__ == tmp + '/folder_paths.py'", True),
        ("[folder_paths.output_directory, folder_paths.input_directory, folder_paths.temp_directory, "
         "folder_paths.user_directory] == [folder_paths.get_output_directory(), folder_paths.get_input_directory(), "
         "folder_paths.get_temp_directory(), folder_paths.get_user_directory()]", True),
        ("(folder_paths.set_temp_directory(tmp + '/t'), folder_paths.temp_directory == tmp + '/t')[1]", True),
        ("(folder_paths.set_input_directory(tmp + '/i'), folder_paths.set_output_directory(tmp + '/o'), "
         "folder_paths.set_user_directory(tmp + '/u'), folder_paths.get_input_directory() == tmp + '/i')[3]", True),
        ("(folder_paths.add_model_folder_path('mine', '/m'), folder_paths.get_folder_paths('mine'))[1]", ["/m"]),
        ("folder_paths.get_annotated_filepath('a.png [output]') == folder_paths.get_output_directory() + '/a.png'",
         True),
        ("folder_paths.get_save_image_path('a/b', folder_paths.get_output_directory())[1:]", ["b", 1, "a", "a/b"]),
        ("folder_paths.get_directory_by_type('temp') == folder_paths.get_temp_directory()", True),
        ("'.safetensors' in folder_paths.supported_pt_extensions", True),
        ("folder_paths.annotated_filepath('a.png')", ["a.png", None]),
        ("folder_paths.exists_annotated_filepath('a.png')", False),
        ("folder_paths.filter_files_content_types(['a.png', 'b.fbx'], ['model'])", ["b.fbx"]),
        ("folder_paths.filter_files_extensions(['a.png', 'b.txt'], {'.txt'})", ["b.txt"]),
        ("folder_paths.recursive_search(tmp + '/none')[0]", []), ("folder_paths.get_input_subfolders()", []),
        ("folder_paths.map_legacy('unet')", "diffusion_models"), ("folder_paths.filename_list_cache", {}),
        ("folder_paths.cached_filename_list_('loras')", None), ("folder_paths.get_filename_list_('loras')[0]", []),
        ("(folder_paths.cache_helper.__enter__(), folder_paths.cache_helper.set('a', 1), "
         "folder_paths.cache_helper.get('a'), folder_paths.cache_helper.__exit__(), "
         "folder_paths.cache_helper.get('a'))[2::2]", [1, None]),
        ("folder_paths.extension_mimetypes_cache['webp']", "image"),
        ("folder_paths.is_within_directory(tmp, tmp + '/../x')", False),
        ("folder_paths.get_public_user_directory('__x')", None),
        ("folder_paths.get_public_user_directory('me') == folder_paths.get_user_directory() + '/me'", True),
        ("folder_paths.get_system_user_directory('cache').endswith('/__cache')", True),
    ],
    "nodes": [
        ("nodes.MAX_RESOLUTION", 16384), ("nodes.interrupt_processing(False)", None),
        ("nodes.before_node_execution()", None), ("nodes.get_module_name('/a/b.c.py')", "b.c"),
        ("nodes.get_module_name('/a/b.c')", "b.c"), ("sorted(nodes.EXTENSION_WEB_DIRS)", []),
        ("sorted(nodes.LOADED_MODULE_DIRS)", []), ("nodes.NODE_DISPLAY_NAME_MAPPINGS['ImageInvert']", "Invert Image"),
        ("nodes.NODE_CLASS_MAPPINGS['ImageInvert']().invert(t.zeros(1, 1, 1, 3))[0].sum().item()", 3.0),
        ("[*nodes.ImageScale().upscale(t.zeros(1, 2, 2, 3), nodes.ImageScale.upscale_methods[0], 4, 3, 'disabled')[0]"
         ".shape]", [1, 3, 4, 3]),
        ("[*nodes.ImageScaleBy().upscale(t.zeros(1, 2, 2, 3), 'area', 2.0)[0].shape]", [1, 4, 4, 3]),
        ("nodes.ImageBatch().batch(t.zeros(1, 2, 2, 3), t.zeros(1, 2, 2, 3))[0].shape[0]", 2),
        ("[*nodes.EmptyImage().generate(4, 2)[0].shape]", [1, 2, 4, 3]),
        ("[*nodes.ImagePadForOutpaint().expand_image(t.zeros(1, 2, 2, 3), 1, 1, 1, 1, 0)[0].shape]", [1, 4, 4, 3]),
        ("[*nodes.EmptyLatentImage().generate(16, 8)[0]['samples'].shape]", [1, 4, 1, 2]),
        ("nodes.RepeatLatentBatch().repeat({'samples': t.zeros(1, 4, 2, 2)}, 3)[0]['samples'].shape[0]", 3),
        ("nodes.LatentFromBatch().frombatch({'samples': t.zeros(3, 4, 2, 2)}, 1, 1)[0]['samples'].shape[0]", 1),
        ("[*nodes.LatentUpscaleBy().upscale({'samples': t.zeros(1, 4, 2, 2)}, 'area', 2)[0]['samples'].shape]",
         [1, 4, 4, 4]),
        ("'noise_mask' in nodes.SetLatentNoiseMask().set_mask({'samples': t.zeros(1, 4, 2, 2)}, t.ones(2, 2))[0]",
         True),
        ("[nodes.SaveImage().type, nodes.PreviewImage().type, nodes.PreviewImage().compress_level, "
         "issubclass(nodes.PreviewImage, nodes.SaveImage), nodes.SaveImage().prefix_append]",
         ["output", "temp", 1, True, ""]),
        ("[callable(nodes.LoadImage().load_image), callable(nodes.LoadImageMask().load_image)]", [True, True]),
        ("nodes.ConditioningCombine().combine([1], [2])[0]", [1, 2]),
        ("[*nodes.ConditioningConcat().concat([[t.zeros(1, 2, 3), {}]], [[t.zeros(1, 1, 3), {}]])[0][0][0].shape]",
         [1, 3, 3]),
        ("nodes.ConditioningAverage().addWeighted([[t.ones(1, 2, 1), {}]], [[t.ones(1, 1, 1), {}]], 0.25)[0][0][0]"
         ".flatten().tolist()", [1.0, 0.25]),
        ("nodes.ConditioningZeroOut().zero_out([[t.ones(1), {'pooled_output': t.ones(1)}]])[0][0][1]['pooled_output']"
         ".item()", 0.0),
        ("nodes.ConditioningSetMask().append([[1, {}]], t.ones(2, 2), 'default', 0.5)[0][0][1]['mask_strength']", 0.5),
        ("nodes.ConditioningSetTimestepRange().set_range([[1, {}]], 0.1, 0.9)[0][0][1]",
         {"start_percent": 0.1, "end_percent": 0.9}),
    ],
    "execution": [
        ("execution.PromptExecutor(server.PromptServer.instance).success", True),
        ("execution.PromptExecutor(None).caches.outputs.get('1')", None),
        ("(setattr(x, 'e', execution.PromptExecutor(None, False, {}, None)), x.e.reset(), x.e.history_result, "
         "x.e.status_messages, x.e.handle_execution_error('p', {}, [], set(), {}, None))[2:]", [{}, [], None]),
        ("execution.PromptQueue is type(server.PromptServer.instance.prompt_queue)", True),
        ("execution.map_node_over_list", None), ("execution.nodes is nodes", True),
        ("'auth_token_comfy_org' in execution.SENSITIVE_EXTRA_DATA_KEYS", True),
        ("execution.get_input_data({'image': ['1', 0], 'upscale_method': 'area'}, nodes.ImageScaleBy, '7', "
         "{'1': [['picture']]})", [{"image": ["picture"], "upscale_method": ["area"]}, {}, {}]),
        ("execution.get_input_data({'image': ['1', 0]}, nodes.ImageScaleBy, '7')[1]", {"image": [None]}),
        ("callable(execution.validate_prompt)", True),
    ],
    "server": [
        ("server.PromptServer.instance.get_queue_info()", {"exec_info": {"queue_remaining": 0}}),
        ("server.PromptServer.instance.client_id", None), ("server.PromptServer.instance.last_node_id", None),
        ("server.PromptServer.instance.last_prompt_id", None), ("server.PromptServer.instance.number", 0),
        ("[*server.PromptServer.instance.sockets]", ["someone"]),
        ("server.PromptServer.instance.sockets_metadata['someone']['feature_flags']",
         {"supports_preview_metadata": True}),
        ("server.PromptServer.instance.loop is loop", True), ("server.PromptServer.instance.port", 8188),
        ("server.PromptServer.instance.address", "127.0.0.1"), ("server.PromptServer.instance.supports != []", True),
        ("server.PromptServer.instance.queue_updated()", None),
        ("(server.PromptServer.instance.add_on_prompt_handler(lambda body: {**body, 'b': 1}), "
         "server.PromptServer.instance.trigger_on_prompt({'a': 1}))[1]", {"a": 1, "b": 1}),
        ("server.PromptServer.instance.on_prompt_handlers.clear()", None),
        ("server.web.Response(text='a').text", "a"), ("server.nodes is nodes", True),
        ("server.folder_paths is folder_paths", True), ("server.uuid.__name__", "uuid"), ("server.os.__name__", "os"),
        ("server.PromptServer.instance.prompt_queue.get_flags()", {}),
        ("server.PromptServer.instance.messages.empty()", True), ("server.PromptServer.instance.client_session", None),
        ("server.PromptServer.instance.web_root.endswith('ui')", True),
    ],
    "nest_asyncio": [("nest_asyncio.apply()", None)],
    "model_management": [("model_management is comfy.model_management", True)],
    "comfy_extras.nodes_mask": [
        ("comfy_extras.nodes_mask.composite(t.zeros(1, 1, 4, 4), t.ones(1, 1, 2, 2), 1, 1, multiplier=1).sum().item()",
         4.0),
        ("comfy_extras.nodes_mask.composite(t.zeros(2, 1, 4, 4), t.ones(1, 1, 2, 2), -8, 0).sum().item()", 4.0),
        ("comfy_extras.nodes_mask.GrowMask is nodes.NODE_CLASS_MAPPINGS['GrowMask']", True),
        ("comfy_extras.nodes_mask.MaskComposite.FUNCTION", "combine"),
    ],
    "comfy_extras.nodes_latent": [
        ("(setattr(x, 'l', comfy_extras.nodes_latent.LatentBatch().batch({'samples': t.zeros(1, 4, 2, 2)}, "
         "{'samples': t.zeros(2, 4, 4, 4)})[0]), [*x.l['samples'].shape], x.l['batch_index'])[1:]",
         [[3, 4, 2, 2], [0, 0, 1]])],
    "comfy_extras.nodes_compositing": [
        ("[*comfy_extras.nodes_compositing.JoinImageWithAlpha.RETURN_TYPES]", ["IMAGE"])],
}
