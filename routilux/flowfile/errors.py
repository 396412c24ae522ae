"""What can go wrong with flow files.

FlowFileError (CallerError, ValueError)   a file that is no flow, or a flow that no file can hold
"""

from __future__ import annotations

from routilux.errors import CallerError


class FlowFileError(CallerError, ValueError):
    """A file describes no flow, or a flow cannot be told in a file.

    Args:
        file: the file, as it was given; empty where there is none yet.
        path: where in it, such as `routines.parse.workers`; empty for all of it.
        what: what is wrong there, and what to do.
    """

    def __init__(self, file: str, path: str, what: str) -> None:
        self.file, self.path, self.what = file, path, what
        super().__init__(": ".join(part for part in (file, path, what) if part))
