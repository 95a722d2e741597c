"""A client of the adder: blocking, as clients are, and ignorant of where its socket comes from."""

import socket


def ask(client: socket.socket, request: bytes) -> bytes:
    """Send *request*, end, and return all that comes back."""
    client.sendall(request)
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while data := client.recv(1000):
        answer += data
    return answer
