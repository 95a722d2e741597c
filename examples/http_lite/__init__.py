"""HTTP-lite: serves directories and applications over HTTP/1.1, within limits and deadlines, on one thread.

Read it from below: `options` (every limit), `request` (bytes in, requests out), `response` (what goes out), `files` (what a
path names), `static` and `listing` (what is answered of that), `app` and `wsgi` (what others answer), `log`, `connection`
(when what goes out), `__main__` (the wiring). Only `connection` knows a socket.

Run it, and open the address that it prints in a browser::

    pip install selector-reactor[http]
    python -m examples.http_lite --bind 127.0.0.1:8000 DIRECTORY
"""
