"""HTTP-lite: serves a directory to browsers, with keep-alive, pipelining, back-pressure and deadlines.

Read it from below: `request` (bytes in, requests out), `files` (a URL's path to what it names), `response`, `listing` and
`log` (what goes out), `connection` (when it goes out), `__main__` (the wiring). Only `connection` knows a socket.

Run it, and open the address that it prints in a browser::

    pip install selector-reactor[http]
    python -m examples.http_lite --bind 127.0.0.1:8000 DIRECTORY
"""
