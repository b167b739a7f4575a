// What a server process does: getaddrinfo, and getnameinfo for `-x ADDRESS`.
// Prints the addresses sorted, one a line, or the error's symbol; exits 0 either way.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char *symbol(int error) {
    switch (error) {
    case EAI_NONAME: return "EAI_NONAME";
    case EAI_AGAIN: return "EAI_AGAIN";
    case EAI_FAIL: return "EAI_FAIL";
#ifdef EAI_NODATA
    case EAI_NODATA: return "EAI_NODATA";
#endif
    default: return gai_strerror(error);
    }
}

static int compare(const void *a, const void *b) { return strcmp(a, b); }

static int reverse(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char name[256];
    inet_pton(AF_INET, text, &address.sin_addr);
    int error = getnameinfo((void *)&address, sizeof address, name, sizeof name, NULL, 0, NI_NAMEREQD);
    puts(error ? symbol(error) : name);
    return 0;
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "-x")) return reverse(words[2]);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(words[count - 1], NULL, &hints, &found);
    if (error) {
        puts(symbol(error));
        return 0;
    }
    char texts[64][INET6_ADDRSTRLEN];
    int n = 0;
    for (struct addrinfo *at = found; at && n < 64; at = at->ai_next) {
        const void *address = at->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr;
        inet_ntop(at->ai_family, address, texts[n++], INET6_ADDRSTRLEN);
    }
    qsort(texts, n, sizeof texts[0], compare);
    for (int i = 0; i < n; i++) puts(texts[i]);
    return 0;
}
