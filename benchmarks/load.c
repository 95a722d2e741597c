/* The load, and an echo server to measure others by, in C, so that neither is what is measured.

   Compiled by benchmarks/load.py with the machine's own cc. Linux only. Descriptors are the caller's. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
static char buffer[1 << 18];

struct side {
    int fd;
    unsigned asked; /* of epoll */
    long unsent, unreceived;
    double began;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Send what is left of a message; have epoll say when there is room, if there is not. 0 if the peer is gone. */
static int push(int epoll, struct side *side, const char *message, long size)
{
    while (side->unsent) {
        long sent = send(side->fd, message + size - side->unsent, side->unsent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent <= 0)
            return 0;
        side->unsent -= sent;
    }
    unsigned wanted = side->unsent ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (wanted != side->asked) {
        struct epoll_event event = {.events = wanted, .data.ptr = side};
        epoll_ctl(epoll, EPOLL_CTL_MOD, side->fd, &event);
        side->asked = wanted;
    }
    return 1;
}

/* Keep one message in flight on each of n connections, until count replies have come or seconds have passed, and then
   until all have come. Returns how many; -1 if a peer was gone, -2 if one was silent for ten seconds. */
long exchange(int n, const int *fds, const char *message, long size, long reply, long count, double seconds,
              float *latencies)
{
    struct epoll_event events[BATCH];
    struct side *sides = calloc(n, sizeof *sides);
    int epoll = epoll_create1(0);
    long started = 0, done = 0;
    double time = now(), deadline = time + seconds;

    for (int i = 0; i < n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &sides[i]};
        sides[i] = (struct side){.fd = fds[i], .asked = EPOLLIN};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    for (int i = 0; i < n && started < count; i++, started++) {
        sides[i].unsent = size;
        sides[i].unreceived = reply;
        sides[i].began = time;
        if (!push(epoll, &sides[i], message, size))
            done = -1;
    }
    while (done >= 0 && done < started) {
        int ready = epoll_wait(epoll, events, BATCH, 10000);
        if (ready <= 0 && errno != EINTR) {
            done = -2;
            break;
        }
        time = now();
        for (int i = 0; i < ready; i++) {
            struct side *side = events[i].data.ptr;
            if (events[i].events & ~EPOLLOUT) {
                long got = recv(side->fd, buffer, sizeof buffer, 0);
                if (got == 0 || (got < 0 && errno != EAGAIN)) {
                    done = -1;
                    break;
                }
                if (got > 0)
                    side->unreceived -= got;
            }
            if (!side->unreceived) {
                latencies[done++] = time - side->began;
                if (started >= count || time >= deadline) {
                    side->unreceived = -1; /* has had its last */
                    continue;
                }
                started++;
                side->unsent = size;
                side->unreceived = reply;
                side->began = time;
            }
            if (!push(epoll, side, message, size)) {
                done = -1;
                break;
            }
        }
    }
    close(epoll);
    free(sides);
    return done;
}

/* Connect, exchange one message, end, wait for the peer's end, close: width connections at a time. Returns how many. */
long churn(const struct sockaddr_in *address, const char *message, long size, int width, long count, double seconds,
           float *latencies)
{
    int fds[BATCH];
    double began[BATCH], deadline = now() + seconds;
    struct timeval patience = {.tv_sec = 10};
    long done = 0;

    while (done < count && now() < deadline) {
        for (int i = 0; i < width; i++) {
            began[i] = now();
            fds[i] = socket(AF_INET, SOCK_STREAM, 0);
            setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            if (fds[i] < 0 || connect(fds[i], (const struct sockaddr *)address, sizeof *address))
                return -1;
            if (send(fds[i], message, size, MSG_NOSIGNAL) != size)
                return -1;
        }
        for (int i = 0; i < width; i++) {
            if (recv(fds[i], buffer, size, MSG_WAITALL) != size)
                return -2;
            shutdown(fds[i], SHUT_WR);
        }
        for (int i = 0; i < width; i++) {
            if (recv(fds[i], buffer, size, 0) != 0)
                return -2;
            close(fds[i]);
            latencies[done++] = now() - began[i];
        }
    }
    return done;
}

/* An echo server, level-triggered like selectors, that does nothing about errors or room. */
void serve(int listener)
{
    struct epoll_event events[BATCH], event = {.events = EPOLLIN, .data.fd = listener};
    int epoll = epoll_create1(0), one = 1;

    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0)
                    continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            long got = recv(fd, buffer, 65536, 0);
            if (got <= 0 || send(fd, buffer, got, MSG_NOSIGNAL) < 0)
                close(fd);
        }
    }
}
