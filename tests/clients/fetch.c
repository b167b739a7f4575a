// What a program does that fetches over HTTP: getaddrinfo, connect, a GET, and all of the answer.
// fetch HOST PORT PATH prints the address that getpeername gives and the body, or what failed.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

int main(int count, char **words) {
    if (count != 4) return 2;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(words[1], words[2], &hints, &found);
    if (error) {
        puts(gai_strerror(error));
        return 1;
    }
    int fd = socket(found->ai_family, found->ai_socktype, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) return failed("connect");

    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    if (getpeername(fd, (void *)&peer, &length)) return failed("getpeername");
    printf("%s\n", inet_ntoa(peer.sin_addr));

    dprintf(fd, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", words[3], words[1]);
    FILE *answer = fdopen(fd, "r");
    char line[4096];
    int body = 0;
    while (fgets(line, sizeof line, answer)) {
        if (body) fputs(line, stdout);
        if (!strcmp(line, "\r\n")) body = 1;
    }
    return ferror(answer) ? failed("read") : 0;
}
