// connect [-n] IP PORT: one connection, blocking or (-n) as event loops make it, and what became of it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *name(int error) {
    switch (error) {
    case EACCES: return "EACCES";
    case ECONNREFUSED: return "ECONNREFUSED";
    case ECONNRESET: return "ECONNRESET";
    case EHOSTUNREACH: return "EHOSTUNREACH";
    case ENETUNREACH: return "ENETUNREACH";
    case ETIMEDOUT: return "ETIMEDOUT";
    default: return strerror(error);
    }
}

static int ends(const char *what, int error) {
    printf("%s %s\n", what, name(error));
    return 1;
}

int main(int argc, char **argv) {
    int event_loop = argc > 1 && !strcmp(argv[1], "-n");
    argv += event_loop;
    argc -= event_loop;
    if (argc != 3)
        return 64;
    struct sockaddr_storage to = {0}, peer = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to;
    socklen_t length = sizeof *v4;
    if (inet_pton(AF_INET, argv[1], &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(atoi(argv[2]));
    } else if (inet_pton(AF_INET6, argv[1], &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(atoi(argv[2]));
        length = sizeof *v6;
    } else {
        return 64;
    }

    int s = socket(to.ss_family, SOCK_STREAM | (event_loop ? SOCK_NONBLOCK : 0), 0);
    if (connect(s, (struct sockaddr *)&to, length) < 0) {
        if (!event_loop || errno != EINPROGRESS)
            return ends("connect", errno);
        struct pollfd writable = {s, POLLOUT, 0};
        if (poll(&writable, 1, 30000) != 1)
            return ends("connect", ETIMEDOUT);
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            return ends("connect", error);
    }
    length = sizeof peer;
    getpeername(s, (struct sockaddr *)&peer, &length);
    int same = !memcmp(&peer, &to, to.ss_family == AF_INET ? sizeof *v4 : sizeof *v6);

    char answer[64];
    const char word[] = "GET / HTTP/1.0\r\n\r\n";
    if (send(s, word, sizeof word - 1, MSG_NOSIGNAL) < 0)
        return ends("then", errno);
    struct pollfd readable = {s, POLLIN, 0};
    if (poll(&readable, 1, 30000) != 1)
        return ends("then", ETIMEDOUT);
    ssize_t got = read(s, answer, sizeof answer - 1);
    if (got < 0)
        return ends("then", errno);
    answer[got] = 0;
    printf("%s %.12s\n", same ? "peer" : "another peer", answer);
    return 0;
}
