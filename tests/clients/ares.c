// A C program on c-ares: ares_getaddrinfo, and ares_getnameinfo for a word that is an IPv4 address.
#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/select.h>

static const char *canonical(int error) {
    switch (error) {
    case ARES_ENOTFOUND: return "NXDOMAIN";
    case ARES_ENODATA: return "NODATA";
    default: return ares_strerror(error);
    }
}

static void named(void *unused, int error, int timeouts, char *name, char *service) {
    puts(error ? canonical(error) : name);
}

static void found(void *unused, int error, int timeouts, struct ares_addrinfo *found) {
    if (error) {
        puts(canonical(error));
        return;
    }
    for (struct ares_addrinfo_node *at = found->nodes; at; at = at->ai_next) {
        char text[NI_MAXHOST];
        getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        printf("%s ", text);
    }
    puts("");
    ares_freeaddrinfo(found);
}

static void wait_for(ares_channel channel) {
    for (;;) {
        fd_set readable, writable;
        struct timeval time;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        int count = ares_fds(channel, &readable, &writable);
        if (!count) return;
        select(count, &readable, &writable, NULL, ares_timeout(channel, NULL, &time));
        ares_process(channel, &readable, &writable);
    }
}

int main(int count, char **words) {
    ares_channel channel;
    int error = ares_library_init(ARES_LIB_INIT_ALL);
    if (!error) error = ares_init(&channel);
    if (error) {
        puts(ares_strerror(error));
        return 1;
    }
    printf("c-ares %s\n", ares_version(NULL));
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    for (int i = 1; i < count; i++) {
        struct sockaddr_in socket = {.sin_family = AF_INET};
        if (inet_pton(AF_INET, words[i], &socket.sin_addr) == 1)
            ares_getnameinfo(channel, (void *)&socket, sizeof socket,
                             ARES_NI_LOOKUPHOST | ARES_NI_NAMEREQD, named, NULL);
        else
            ares_getaddrinfo(channel, words[i], NULL, &hints, found, NULL);
        wait_for(channel);
    }
    ares_destroy(channel);
}
