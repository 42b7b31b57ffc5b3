"""One file: a safetensors container of arrays, with a document in JSON beside them.

Its digest is that of the whole file with zeros in the digest's own place: any byte that differs
is noticed. It protects against accidents, not against people, who can make digests too.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from skvae.persistence.errors import SavedFileError

# Where the document is, among what safetensors calls metadata.
ENTRY = "skvae"
# The first field of the document, and what stands there while the digest is computed.
DIGEST, BLANK = "sha256", "0" * 64
# safetensors reads no file with a longer one.
LONGEST_HEADER = 100_000_000


def write_file(path: Path, document: dict[str, Any], blobs: dict[str, np.ndarray]) -> None:
    """Write arrays and document at once: other readers see the old file or the new one.

    Raises
    ------
    ImportError
        Without safetensors.
    OSError
        If the path is a folder, or lies in none.
    ValueError
        If there are too many words for a file.
    """
    pieces = _packed(document, blobs)
    path = Path(os.path.realpath(path))  # a link stays one
    _refuse_folder(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(path.parent))
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read document and arrays.

    Raises
    ------
    ImportError
        Without safetensors.
    OSError
        If there is no such file, or it is a folder.
    SavedFileError
        If it is not what `write_file` has written.
    """
    library = _safetensors()
    _refuse_folder(path)
    content = path.read_bytes()
    document, place = _document(path, content)
    if _digest(content, place) != document[DIGEST]:
        raise SavedFileError(
            f"{path} is damaged: its content does not match its checksum. It was cut short or "
            "altered after it was saved; save the estimator again, or copy the file again."
        )
    try:
        return document, library.load(content)
    except Exception as error:
        raise SavedFileError(f"{path} is damaged: {error}.") from error


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "This is a folder; an estimator is one file, name it", str(path)
        )


def _digest(content: bytes, place: int) -> str:
    """Of the file, with zeros where its digest is."""
    digest = hashlib.sha256(content[:place])
    digest.update(BLANK.encode())
    digest.update(memoryview(content)[place + len(BLANK) :])
    return digest.hexdigest()


def _packed(document: dict[str, Any], blobs: dict[str, np.ndarray]) -> list[Any]:
    """The bytes of a file, in pieces."""
    text = json.dumps({DIGEST: BLANK, **document}, allow_nan=False, separators=(",", ":"))
    content: bytes = _safetensors().save(blobs, metadata={ENTRY: text})
    if int.from_bytes(content[:8], "little") > LONGEST_HEADER:
        raise ValueError(
            "The estimator holds too many words for a file of safetensors: columns of many levels, "
            "most likely. Store it with joblib.dump, or fit it with fewer levels."
        )
    place = content.index(BLANK.encode())
    digest = _digest(content, place).encode()
    return [content[:place], digest, memoryview(content)[place + len(digest) :]]


def _document(path: Path, content: bytes) -> tuple[dict[str, Any], int]:
    """The document of a file of ours, not yet checked, and where its digest is."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 1 < length <= LONGEST_HEADER:
        _refuse_foreign(path, content)
    if len(content) < 8 + length:
        _refuse_foreign(path, content, "or was cut short")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        _refuse_foreign(path, content, "or is damaged")
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or ENTRY not in metadata:
        raise SavedFileError(
            f"{path} is a file of safetensors, but no saved estimator: it has no entry of skvae."
        )
    try:
        document = json.loads(metadata[ENTRY], parse_constant=_no_constant)
        digest = document[DIGEST].encode()
        place = content[: 8 + length].index(digest)
        if len(digest) != len(BLANK):
            raise ValueError("its digest is none")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SavedFileError(f"{path} is damaged: its description cannot be read.") from error
    return document, place


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _refuse_foreign(path: Path, content: bytes, or_else: str = "") -> NoReturn:
    what = "is no estimator saved by skvae"
    if not content:
        what = "is empty"
    elif content[:1] == b"\x80" or content[:2] == b"PK":
        what += ": it looks like a pickle or a file of torch, for joblib.load, pickle.load or "
        what += "torch.load, if you trust whoever made it"
    elif or_else:
        what += f", {or_else}"
    raise SavedFileError(f"{path} {what}.")


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Saving and loading estimators needs safetensors: pip install 'skvae[save]'."
        ) from error
    return safetensors.numpy
