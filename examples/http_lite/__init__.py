"""HTTP-lite: serves directories and applications over HTTP/1.1, within limits and deadlines, on one thread.

Read it from below: `options`, `request` (bytes in, requests out), `response` (what goes out), `app` (routes), `log`,
`connection` (how an exchange moves), `static`, `wsgi`, `status`, `__main__` (the wiring). Only `connection` knows a socket.

Run it, `python -m examples.http_lite --help`; it needs `pip install selector-reactor[http]`.
"""
