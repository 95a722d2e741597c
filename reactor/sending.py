"""Sending: offer the kernel what stands at the head of a write queue, by the call that fits it.

send(2) for one chunk, sendmsg(2) for many, sendfile(2) for a piece of a file. Nothing is taken off the queue here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reactor import errnos
from reactor.buffers import Outgoing, Piece
from reactor.errors import FileShrank

if TYPE_CHECKING:
    from socket import socket

    from reactor.system import System

#: Bytes of a file that are read at once, where the kernel does not copy them by itself.
FILE_BYTES = 65536


def offer(outgoing: Outgoing, most: int, sock: socket, system: System) -> tuple[int, int]:
    """Offer the head of *outgoing*, at most *most* bytes; return how many bytes were offered, and how many were taken.

    Raises:
        OSError: of the call.
        FileShrank: the file has no more bytes, although more were promised.
    """
    piece = outgoing.piece
    if piece is not None:
        count = min(piece.count, most)
        return count, _send_piece(piece, count, sock, system)
    views = outgoing.views()
    try:
        offered = sum(map(len, views))
        if offered > most:
            first = views[0][:most]
            views.append(first)  # to be released with the others
            return len(first), sock.send(first)
        if len(views) == 1:
            return offered, sock.send(views[0])
        return offered, sock.sendmsg(views)
    finally:
        for view in views:
            view.release()


def _send_piece(piece: Piece, count: int, sock: socket, system: System) -> int:
    """Send *count* bytes of a file, copied by the kernel unless it cannot."""
    if piece.by_kernel:
        try:
            sent = system.send_file(sock, piece.fd, piece.offset, count)
        except OSError as error:
            if error.errno not in errnos.CANNOT_SENDFILE:
                raise
            piece.by_kernel = False
            return _send_piece(piece, count, sock, system)
    else:
        data = system.read_at(piece.fd, piece.offset, min(count, FILE_BYTES))
        sent = sock.send(data) if data else 0
    if not sent:
        raise FileShrank(f"the file ends {piece.count} bytes before it was to: at {piece.offset}")
    return sent
