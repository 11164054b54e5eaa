"""The certificate of `--tls-keyfile` and `--tls-certfile`."""

import ssl
from argparse import Namespace


class NoCertificate(Exception):
    """The server cannot speak TLS as it was told. The message is a sentence."""


def ssl_context_of(options: Namespace) -> ssl.SSLContext | None:
    """What encrypts connections; None without a certificate.

    :raises NoCertificate: one of the files is missing, or they are not a key and its certificate.
    """
    key, certificate = options.tls_keyfile, options.tls_certfile
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise NoCertificate("--tls-keyfile and --tls-certfile are needed together")
    for option, file in (("--tls-keyfile", key), ("--tls-certfile", certificate)):
        if not file.expanduser().is_file():
            raise NoCertificate(f"{option}: there is no file {file}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate.expanduser(), key.expanduser())
    except (ssl.SSLError, OSError, ValueError) as error:
        raise NoCertificate(f"--tls-certfile {certificate} and --tls-keyfile {key} are not a certificate and its key "
                            f"without a password: {error}") from None
    return context
