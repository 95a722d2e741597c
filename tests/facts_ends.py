"""Facts about ends: half-close, FIN, RST, and what selectors make of them."""

from __future__ import annotations

import socket

from tests.facts import INET, INET6, READ, UNIX, WRITE, Script, World, drain, error, fact, reset, said

TCP = (INET, INET6)
ALL = (INET, INET6, UNIX)


@fact(*ALL)
def half_close(world: World, family: int) -> Script:
    """After `shutdown(SHUT_WR)` the peer reads what there was, then b""; the other way goes on until it is shut, too."""
    here, there = world.pair(family)
    here.send(b"request")
    yield said(here.shutdown, socket.SHUT_WR), None
    yield world.ready(here), "w"
    yield said(here.send, b"more"), "EPIPE"
    yield said(here.send, b""), "EPIPE"
    world.settle()
    yield world.ready(there), "rw"
    yield said(there.recv, 100), b"request"
    yield world.ready(there), "rw"
    yield said(there.recv, 100), b""
    yield said(there.send, b"response"), 8
    world.wait(here, READ)
    yield world.ready(here), "rw"
    yield said(here.recv, 100), b"response"
    yield world.ready(here), "w"
    yield said(here.recv, 100), "EAGAIN"
    yield said(there.shutdown, socket.SHUT_WR), None
    world.wait(here, READ)
    yield said(here.recv, 100), b""
    yield (world.ready(here), world.ready(there)), ("rw", "rw")
    yield (error(here), error(there)), (0, 0)


@fact(*ALL)
def end_is_there_for_ever(world: World, family: int) -> Script:
    """An end is read, and reported, as often as it is asked for."""
    here, there = world.pair(family)
    there.shutdown(socket.SHUT_WR)
    world.wait(here, READ)
    yield [said(here.recv, 10) for _ in range(3)], [b"", b"", b""]
    yield said(here.recv_into, bytearray(10)), 0
    yield world.ready(here), "rw"
    yield error(here), 0


@fact(*ALL)
def end_behind_unread_data(world: World, family: int) -> Script:
    """An end behind unread data changes nothing that a selector reports; the data come first."""
    here, there = world.pair(family)
    there.send(b"0123456789")
    world.wait(here, READ)
    yield world.ready(here), "rw"
    there.shutdown(socket.SHUT_WR)
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 4), b"0123"
    yield said(here.recv, 100), b"456789"
    yield said(here.recv, 100), b""


@fact(*ALL)
def end_of_one_that_only_writes(world: World, family: int) -> Script:
    """Who asks for writing alone, and whose buffer is full, hears nothing of the peer's half-close."""
    here, there = world.pair(family)
    world.fill(here)
    yield world.ready(here), ""
    there.shutdown(socket.SHUT_WR)
    world.wait(here, READ)
    yield world.ready(here), "r"


@fact(*ALL)
def shutdown_repeats(world: World, family: int) -> Script:
    """Shutting down what is shut says nothing while the connection stands; a wrong way is EINVAL."""
    here, there = world.pair(family)
    yield said(here.shutdown, socket.SHUT_WR), None
    yield said(here.shutdown, socket.SHUT_WR), None
    yield said(here.shutdown, 3), "EINVAL"
    world.wait(there, READ)
    yield said(here.shutdown, socket.SHUT_RDWR), None
    yield said(here.recv, 10), b""


@fact(*TCP, differs="macOS says ENOTCONN to a shutdown after the peer has closed")
def shutdown_after_both_ends(world: World, family: int) -> Script:
    """Once both ways are shut, who was shut last is not connected any more: shutdown says ENOTCONN."""
    here, there = world.pair(family)
    here.shutdown(socket.SHUT_WR)
    world.wait(there, READ)
    there.shutdown(socket.SHUT_WR)
    world.settle()
    yield said(there.shutdown, socket.SHUT_WR), "ENOTCONN"
    yield said(there.getpeername), "ENOTCONN"
    yield said(there.recv, 10), b""
    yield said(there.send, b"x"), "EPIPE"
    yield world.ready(there), "rw"
    yield error(there), 0


@fact(UNIX)
def shutdown_of_unix_after_both_ends(world: World, family: int) -> Script:
    """A Unix connection that is shut both ways is still connected."""
    here, there = world.pair(family)
    here.shutdown(socket.SHUT_WR)
    there.shutdown(socket.SHUT_WR)
    yield said(there.shutdown, socket.SHUT_WR), None
    yield said(here.getpeername), there.getsockname()
    yield (said(there.recv, 10), said(here.recv, 10)), (b"", b"")
    yield (said(there.send, b"x"), said(here.send, b"x")), ("EPIPE", "EPIPE")
    yield (world.ready(here), world.ready(there)), ("rw", "rw")


@fact(*TCP, differs="macOS and the BSDs throw away what comes after SHUT_RD")
def shutdown_of_reading(world: World, family: int) -> Script:
    """`shutdown(SHUT_RD)` makes a TCP socket readable with b""; the peer does not hear of it and is still read."""
    here, there = world.pair(family)
    yield said(here.shutdown, socket.SHUT_RD), None
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b""
    yield said(there.send, b"hello"), 5
    world.settle()
    yield world.ready(there), "w"
    yield said(here.recv, 10), b"hello"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), 1


@fact()
def shutdown_of_reading_on_unix(world: World) -> Script:
    """On a Unix socket `shutdown(SHUT_RD)` breaks the peer's pipe; what came before can still be read."""
    here, there = world.pair(UNIX)
    there.send(b"before")
    yield said(here.shutdown, socket.SHUT_RD), None
    yield said(there.send, b"x"), "EPIPE"
    yield world.ready(there), "w"
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b"before"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), 1


@fact(*TCP)
def shutdown_of_both(world: World, family: int) -> Script:
    """`shutdown(SHUT_RDWR)` is reported at once for both, to its owner; the peer reads an end."""
    here, there = world.pair(family)
    yield said(here.shutdown, socket.SHUT_RDWR), None
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    world.wait(there, READ)
    yield world.ready(there), "rw"
    yield said(there.recv, 10), b""
    yield said(there.send, b"x"), 1


@fact(*TCP)
def send_to_one_who_shut_both(world: World, family: int) -> Script:
    """Bytes for an end that shut both its ways are answered by RST, and reset that end as well: they are not read."""
    here, there = world.pair(family)
    here.shutdown(socket.SHUT_RDWR)
    world.wait(there, READ)
    yield said(there.send, b"first"), 5
    world.settle()
    yield (world.ready(here), world.ready(there)), ("rw", "rw")
    yield said(here.getpeername), "ENOTCONN"
    yield said(here.shutdown, socket.SHUT_WR), "ENOTCONN"
    yield said(here.recv, 10), "ECONNRESET"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    yield said(there.getpeername), "ENOTCONN"
    yield said(there.recv, 10), b""
    yield said(there.send, b"second"), "EPIPE"
    yield (error(here), error(there)), (0, 0)


@fact(*TCP)
def send_to_one_who_shut_one_by_one(world: World, family: int) -> Script:
    """Bytes for an end that shut its ways one by one reset it, too; send tells the error, or SO_ERROR."""
    here, there = world.pair(family)
    here.shutdown(socket.SHUT_RD)
    here.shutdown(socket.SHUT_WR)
    world.wait(there, READ)
    yield said(there.send, b"first"), 5
    world.settle()
    yield error(here), "ECONNRESET"
    yield said(here.recv, 10), b""
    yield error(there), "EPIPE"
    here, there = world.pair(family)
    here.shutdown(socket.SHUT_WR)
    here.shutdown(socket.SHUT_RD)
    world.wait(there, READ)
    yield said(there.send, b"first"), 5
    world.settle()
    yield said(here.send, b"x"), "ECONNRESET"
    yield said(here.send, b"x"), "EPIPE"


@fact()
def shutdown_of_both_on_unix(world: World) -> Script:
    """On a Unix socket `shutdown(SHUT_RDWR)` shuts both ends."""
    here, there = world.pair(UNIX)
    yield said(here.shutdown, socket.SHUT_RDWR), None
    yield (world.ready(here), world.ready(there)), ("rw", "rw")
    yield (said(here.recv, 10), said(there.recv, 10)), (b"", b"")
    yield (said(here.send, b"x"), said(there.send, b"x")), ("EPIPE", "EPIPE")


@fact(*ALL)
def both_ends_shut_with_a_full_buffer(world: World, family: int) -> Script:
    """Where both ways are shut a hang-up is reported as readable and, whatever is still in the buffer, as writable."""
    here, there = world.pair(family)
    world.fill(here)
    here.shutdown(socket.SHUT_WR)
    yield world.ready(here), "w" if family != UNIX else ""
    there.shutdown(socket.SHUT_WR)
    world.wait(here, READ)
    yield world.ready(here), "rw" if family != UNIX else "rw, select: r"


@fact(*TCP)
def close_is_an_end(world: World, family: int) -> Script:
    """A peer that has read everything and closes ends its way; that the other way is gone is not to be seen yet."""
    here, there = world.pair(family)
    there.send(b"last words")
    there.close()
    world.wait(here, READ)
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 100), b"last words"
    yield said(here.recv, 100), b""
    yield error(here), 0
    yield world.ready(here), "rw"
    yield said(here.getpeername)[:1], world.free(family)[:1]


@fact(*TCP, differs="macOS may say EPROTOTYPE while the connection goes down")
def send_after_the_peer_closed(world: World, family: int) -> Script:
    """The first send after the peer's close succeeds and is answered by RST; then send says EPIPE, and no error is left."""
    here, there = world.pair(family)
    there.close()
    world.wait(here, READ)
    yield said(here.recv, 10), b""
    yield said(here.send, b"first"), 5
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.send, b"second"), "EPIPE"
    yield said(here.send, b"third"), "EPIPE"
    yield said(here.recv, 10), b""
    yield error(here), 0
    yield said(here.getpeername), "ENOTCONN"


@fact(*TCP)
def error_after_the_peer_closed(world: World, family: int) -> Script:
    """An RST that comes after the peer's FIN is the error EPIPE; SO_ERROR tells it, once."""
    here, there = world.pair(family)
    there.close()
    world.wait(here, READ)
    yield said(here.send, b"first"), 5
    world.settle()
    yield error(here), "EPIPE"
    yield error(here), 0
    yield said(here.recv, 10), b""
    yield said(here.send, b"second"), "EPIPE"
    yield world.ready(here), "rw"


@fact(*TCP)
def recv_after_the_peer_closed(world: World, family: int) -> Script:
    """Where recv comes first after that RST, it gives the end, and the error stays for send or SO_ERROR."""
    here, there = world.pair(family)
    there.close()
    world.wait(here, READ)
    yield said(here.send, b"first"), 5
    world.settle()
    yield said(here.recv, 10), b""
    yield said(here.recv, 10), b""
    yield error(here), "EPIPE"
    yield said(here.recv, 10), b""


@fact(*TCP)
def unread_data_survive_that_reset(world: World, family: int) -> Script:
    """What the peer sent before it closed is read even after its RST."""
    here, there = world.pair(family)
    there.send(b"last words")
    there.close()
    world.wait(here, READ)
    yield said(here.send, b"first"), 5
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 100), b"last words"
    yield said(here.recv, 100), b""
    yield said(here.send, b"second"), "EPIPE"


@fact()
def send_after_the_unix_peer_closed(world: World) -> Script:
    """On a Unix socket the first send after the peer's close says EPIPE."""
    here, there = world.pair(UNIX)
    there.close()
    yield world.ready(here), "rw"
    yield said(here.send, b"first"), "EPIPE"
    yield error(here), 0
    yield said(here.recv, 10), b""
    yield said(here.getpeername) != "ENOTCONN", True


@fact(*TCP)
def close_with_unread_input_resets(world: World, family: int) -> Script:
    """Who closes with unread input sends RST: RFC 2525, 2.17. The peer is told ECONNRESET once, then b""."""
    here, there = world.pair(family)
    here.send(b"unread")
    world.wait(there, READ)
    there.close()
    world.wait(here, READ)
    yield world.ready(here), "rw"
    yield said(here.recv, 10), "ECONNRESET"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    yield error(here), 0
    yield world.ready(here), "rw"
    yield said(here.getpeername), "ENOTCONN"


@fact(*TCP, differs="on Windows the RST throws away what was not read yet")
def close_with_unread_input_after_a_reply(world: World, family: int) -> Script:
    """A reply that arrived before such an RST is read first; then recv says ECONNRESET, once."""
    here, there = world.pair(family)
    here.send(b"unread")
    world.wait(there, READ)
    there.send(b"reply")
    world.wait(here, READ)
    there.close()
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b"reply"
    yield said(here.recv, 10), "ECONNRESET"
    yield said(here.recv, 10), b""


@fact(UNIX, differs="macOS and the BSDs give the rest and an end")
def close_of_unix_with_unread_input(world: World, family: int) -> Script:
    """Where a Unix peer closes with unread input, what it had sent is read, then recv says ECONNRESET, once."""
    here, there = world.pair(family)
    here.send(b"unread")
    there.send(b"reply")
    there.close()
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b"reply"
    yield said(here.recv, 10), "ECONNRESET"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    yield error(here), 0


@fact()
def close_of_a_pair_with_unread_input(world: World) -> Script:
    """SO_ERROR takes that error, too; the pair's end then is an ordinary one."""
    here, there = world.socketpair()
    here.send(b"unread")
    there.close()
    yield world.ready(here), "rw"
    yield error(here), "ECONNRESET"
    yield error(here), 0
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"


@fact(*TCP)
def reset_is_reported_to_everybody(world: World, family: int) -> Script:
    """A connection that the peer resets is ready for all that was asked for; SO_ERROR tells ECONNRESET, once."""
    here, there = world.pair(family)
    reset(there)
    world.wait(here, READ)
    yield world.ready(here), "rw"
    yield error(here), "ECONNRESET"
    yield error(here), 0
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    yield said(here.getpeername), "ENOTCONN"
    yield said(here.shutdown, socket.SHUT_WR), "ENOTCONN"


@fact(*TCP, differs="on Windows the RST throws away what was not read yet")
def reset_behind_unread_data(world: World, family: int) -> Script:
    """What had arrived before an RST is read first; then recv says ECONNRESET, once, then b"" for ever."""
    here, there = world.pair(family)
    there.send(b"last words")
    world.wait(here, READ)
    yield world.ready(here), "rw"
    reset(there)
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 4), b"last"
    yield world.ready(here), "rw"
    yield said(here.recv, 100), b" words"
    yield said(here.recv, 100), "ECONNRESET"
    yield [said(here.recv, 10) for _ in range(2)], [b"", b""]
    yield world.ready(here), "rw"


@fact(*TCP)
def reset_told_by_send(world: World, family: int) -> Script:
    """Where send comes first after an RST it is told ECONNRESET, then EPIPE; recv then gives b""."""
    here, there = world.pair(family)
    reset(there)
    world.wait(here, READ)
    yield said(here.send, b"x"), "ECONNRESET"
    yield said(here.send, b"x"), "EPIPE"
    yield said(here.recv, 10), b""


@fact(*TCP)
def error_taken_before_unread_data(world: World, family: int) -> Script:
    """SO_ERROR tells an RST while data are unread; they are read all the same, then comes b""."""
    here, there = world.pair(family)
    there.send(b"last words")
    world.wait(here, READ)
    reset(there)
    world.settle()
    yield error(here), "ECONNRESET"
    yield said(here.recv, 100), b"last words"
    yield said(here.recv, 100), b""


@fact(*TCP)
def reset_behind_an_end(world: World, family: int) -> Script:
    """An RST after the peer's FIN is the error EPIPE for send; who reads gets the end."""
    here, there = world.pair(family)
    there.shutdown(socket.SHUT_WR)
    world.wait(here, READ)
    reset(there)
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    yield error(here), 0


@fact(*TCP)
def reset_of_a_full_buffer(world: World, family: int) -> Script:
    """An RST wakes one who waits to write into a full buffer."""
    here, there = world.pair(family)
    world.fill(here)
    yield world.ready(here), ""
    reset(there)
    world.wait(here, WRITE)
    yield world.ready(here), "rw"
    yield said(here.send, b"x"), "ECONNRESET"


@fact(UNIX)
def close_of_a_full_buffer(world: World, family: int) -> Script:
    """On a Unix socket the peer's close wakes who waits for room in a full buffer; send says EPIPE, SO_ERROR ECONNRESET."""
    here, there = world.pair(family)
    world.fill(here)
    yield world.ready(here), ""
    there.close()
    yield world.ready(here), "rw"
    yield said(here.send, b"x"), "EPIPE"
    yield error(here), "ECONNRESET"
    yield said(here.recv, 10), b""


@fact(*TCP)
def close_with_unread_input_of_a_full_buffer(world: World, family: int) -> Script:
    """Where the peer of a full TCP buffer closes without reading, who waits for room is woken, and told ECONNRESET once."""
    here, there = world.pair(family)
    world.fill(here)
    yield world.ready(here), ""
    there.close()
    world.wait(here, WRITE)
    yield world.ready(here), "rw"
    yield said(here.send, b"x"), "ECONNRESET"
    yield said(here.send, b"x"), "EPIPE"
    yield said(here.recv, 10), b""
    yield error(here), 0


@fact(*TCP)
def close_with_unread_input_behind_an_end(world: World, family: int) -> Script:
    """Where a peer ends its way first and then closes with unread input, the reader has its end, and the writer EPIPE."""
    here, there = world.pair(family)
    there.send(b"reply")
    there.shutdown(socket.SHUT_WR)
    here.send(b"unread")
    world.wait(there, READ)
    there.close()
    world.settle()
    yield world.ready(here), "rw"
    yield said(here.recv, 10), b"reply"
    yield said(here.recv, 10), b""
    yield said(here.send, b"x"), "EPIPE"
    yield error(here), 0


@fact(*TCP)
def reset_throws_away_what_is_queued(world: World, family: int) -> Script:
    """SO_LINGER 0 throws away what was not sent yet: the peer reads what has arrived, then ECONNRESET."""
    here, there = world.pair(family)
    taken = world.fill(here)
    reset(here)
    world.settle()
    given = 0
    for _ in range(taken):
        chunk = said(there.recv, 65536)
        if not isinstance(chunk, bytes) or not chunk:
            break
        given += len(chunk)
    yield 0 < given < taken, True
    yield chunk, "ECONNRESET"
    yield said(there.recv, 10), b""


@fact(*ALL)
def both_close_at_once(world: World, family: int) -> Script:
    """Where both ends send, shut their ways and then read, both read everything and an end."""
    here, there = world.pair(family)
    here.send(b"from here")
    there.send(b"from there")
    here.shutdown(socket.SHUT_WR)
    there.shutdown(socket.SHUT_WR)
    world.settle()
    yield (world.ready(here), world.ready(there)), ("rw", "rw")
    yield (said(here.recv, 100), said(here.recv, 100)), (b"from there", b"")
    yield (said(there.recv, 100), said(there.recv, 100)), (b"from here", b"")
    yield (error(here), error(there)), (0, 0)


@fact()
def linger_0_on_unix_is_a_close(world: World) -> Script:
    """A Unix socket knows no RST: SO_LINGER changes nothing, and the peer reads an end."""
    here, there = world.pair(UNIX)
    there.send(b"last words")
    reset(there)
    yield said(here.recv, 100), b"last words"
    yield said(here.recv, 100), b""


@fact(*TCP)
def close_sends_what_is_queued(world: World, family: int) -> Script:
    """A plain close sends what was taken before it, however much, then the end; the kernel does it alone."""
    here, there = world.pair(family)
    taken = world.fill(here)
    here.close()
    given = 0
    while not given or given < taken:
        world.wait(there, READ)
        given += drain(there)
    yield given == taken, True
    world.wait(there, READ)
    yield said(there.recv, 10), b""


@fact(*TCP)
def data_after_the_reader_closed(world: World, family: int) -> Script:
    """A peer that half-closed and then closed without reading the answer resets who answers."""
    here, there = world.pair(family)
    here.send(b"request")
    here.shutdown(socket.SHUT_WR)
    world.wait(there, READ)
    yield said(there.recv, 10), b"request"
    here.close()
    world.settle()
    yield world.ready(there), "rw"
    yield said(there.send, b"response"), 8
    world.settle()
    yield said(there.send, b"more"), "EPIPE"
    yield said(there.recv, 10), b""
