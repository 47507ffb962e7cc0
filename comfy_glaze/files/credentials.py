"""Content credentials (C2PA): a published file signed with the artist's own certificate.

The signature comes last, when the pixels are settled.  It says who signed, that the file was edited
(by what, it does not say), and on request that it may not be used to train models.  It holds no
thumbnail: by default one of the original would be in it.

Source: C2PA Technical Specification 2.x; CAWG Training and Data Mining Assertion 1.1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ..optional import PackageError, import_optional
from .formats import ArtworkError, named

_KINDS = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
}
_ALGORITHMS = (b"es256", b"es384", b"ed25519", b"ps256")
_NAMESPACES = ("cawg", "c2pa")
"""Of the statement about training: today's, and C2PA 1's, which is all that some readers know."""
_USES = ("ai_generative_training", "ai_training", "ai_inference", "data_mining")
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False},
}


@dataclass(frozen=True, eq=False)
class Credentials:
    """A certificate with its chain, the key that belongs to it, and what the key signs with."""

    certificate: bytes
    key: bytes = field(repr=False)
    algorithm: bytes

    @property
    def fingerprint(self) -> str:
        """Of the certificate, hexadecimal."""
        return hashlib.sha256(self.certificate).hexdigest()

    def sign(self, data: bytes, format: str, no_ai_training: bool) -> bytes:
        """A file of one of our formats, with credentials in it.

        Raises:
            ArtworkError: it cannot be signed.
        """
        c2pa = _c2pa()
        assertions = []
        if no_ai_training:
            assertions = [_statement(namespace) for namespace in _NAMESPACES]
        claim = {"claim_generator_info": [{"name": "c2pa"}], "assertions": assertions}
        signed = BytesIO()
        try:
            info = c2pa.C2paSignerInfo(
                alg=self.algorithm, sign_cert=self.certificate, private_key=self.key, ta_url=None
            )
            context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
            builder = c2pa.Builder(json.dumps(claim), context=context)
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.sign(c2pa.Signer.from_info(info), _KINDS[format], BytesIO(data), signed)
        except c2pa.C2paError as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ArtworkError(f"The picture cannot be signed: {reason}.") from error
        return signed.getvalue()


def _statement(namespace: str) -> dict[str, Any]:
    """That no use of :data:`_USES` is allowed."""
    entries = {f"{namespace}.{use}": {"use": "notAllowed"} for use in _USES}
    return {"label": f"{namespace}.training-mining", "data": {"entries": entries}}


def _c2pa() -> Any:
    try:
        return import_optional("c2pa", "c2pa-python", "comfy-glaze[credentials]")
    except PackageError as error:
        raise ArtworkError(f"Credentials need {error}.") from error


def load_credentials(folder: Path) -> Credentials:
    """The ``certificate.pem`` (with its chain) and ``key.pem`` of a folder, tried once.

    Raises:
        ArtworkError: a file is missing, the package is, or they do not sign.
    """
    _c2pa()
    try:
        certificate, key = ((folder / name).read_bytes() for name in ("certificate.pem", "key.pem"))
    except OSError as error:
        raise ArtworkError(
            f"{named(folder)} must hold certificate.pem and key.pem, but: {error.strerror}."
        ) from error
    trial = BytesIO()
    Image.new("RGB", (32, 32)).save(trial, "PNG")
    refusals = []
    for algorithm in _ALGORITHMS:
        credentials = Credentials(certificate, key, algorithm)
        try:
            credentials.sign(trial.getvalue(), "png", no_ai_training=False)
        except ArtworkError as error:
            refusals.append(str(error))
        else:
            return credentials
    reason = refusals[0].removeprefix("The picture cannot be signed: ")
    raise ArtworkError(f"{named(folder)} holds nothing that C2PA signs with: {reason}")
