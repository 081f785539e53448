"""Reads multipart/form-data, as files come to OpenAI and Anthropic."""

from collections.abc import Mapping

import msgspec
from python_multipart import create_form_parser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from llmring.sim.wire import Problem, Rejected


class UploadedFile(msgspec.Struct, frozen=True, kw_only=True):
    filename: str
    media_type: str
    data: bytes


def form(headers: Mapping[bytes, bytes], body: bytes) -> tuple[dict[str, str], UploadedFile | None]:
    """The fields of a form, and its file. Raises Rejected when it is none."""
    fields: dict[str, str] = {}
    uploaded: list[UploadedFile] = []

    def on_field(field: Field) -> None:
        fields[(field.field_name or b"").decode()] = (field.value or b"").decode("utf-8", "replace")

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        uploaded.append(
            UploadedFile(
                filename=(file.file_name or b"upload").decode("utf-8", "replace"),
                media_type=file.content_type or "application/octet-stream",
                data=file.file_object.read(),
            )
        )
        file.close()

    content_type = {"Content-Type": headers.get(b"content-type", b"")}
    try:
        # Bodies are bounded already: keep every file in memory.
        parser = create_form_parser(content_type, on_field, on_file, config={"MAX_MEMORY_FILE_SIZE": len(body) + 1})
        parser.write(body)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError) as error:
        raise Rejected(Problem(kind="bad_field", detail=f"Could not parse multipart form: {error}")) from error
    return fields, uploaded[0] if uploaded else None
