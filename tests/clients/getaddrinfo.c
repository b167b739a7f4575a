// A C program on its libc: getaddrinfo, and getnameinfo for a word that is an IPv4 address.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#define VERSION "glibc", gnu_get_libc_version()
#endif

static const char *canonical(int error) {
    switch (error) {
    case EAI_NONAME: return "NXDOMAIN";
    case EAI_NODATA: return "NODATA";
    default: return gai_strerror(error);
    }
}

static void reverse(struct in_addr address) {
    struct sockaddr_in socket = {.sin_family = AF_INET, .sin_addr = address};
    char name[NI_MAXHOST];
    int error = getnameinfo((void *)&socket, sizeof socket, name, sizeof name, NULL, 0, NI_NAMEREQD);
    puts(error ? canonical(error) : name);
}

static void forward(const char *name) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(name, NULL, &hints, &found);
    if (error) {
        puts(canonical(error));
        return;
    }
    for (struct addrinfo *at = found; at; at = at->ai_next) {
        char text[NI_MAXHOST];
        getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        printf("%s ", text);
    }
    puts("");
    freeaddrinfo(found);
}

int main(int count, char **words) {
    printf("%s %s\n", VERSION);
    for (int i = 1; i < count; i++) {
        struct in_addr address;
        if (inet_pton(AF_INET, words[i], &address) == 1)
            reverse(address);
        else
            forward(words[i]);
    }
}
