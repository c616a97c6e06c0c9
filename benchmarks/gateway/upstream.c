/* A provider that costs next to nothing: POST /…/chat/completions of the OpenAI dialect, answered from constants.
 *
 *   upstream PORT MAX_SECONDS
 *
 * One thread, edge-triggered epoll, HTTP/1.1 with keep-alive, loopback only. A body with "stream":true is answered by
 * CHUNKS server-sent events, each of them in a send() of its own as providers do, every other body by one JSON object.
 * A body that holds "(pace: N us)" anywhere gets its pieces N microseconds apart; the text stands in a message, so
 * that it passes through any gateway. Every content begins with '~' and the time in 18 digits (nanoseconds of
 * CLOCK_MONOTONIC): the load generator on the same machine reads from it how long each chunk was on its way.
 *
 * It ends after MAX_SECONDS, and at once when the process that started it ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNKS = 64, MAX_PEERS = 4096, REQUEST_BYTES = 128 * 1024, PIECE_BYTES = 4096, EVENTS = 256 };
enum { NOTHING_UNDER_WAY = -1 };

#define ANSWER_ID "\"id\":\"chatcmpl-Bq7mC2xVtL0sWf4hYdKe91RzNuJpA\""
#define CREATED "\"created\":1795305600,\"model\":\"gpt-4o-mini-2024-07-18\""
#define TAIL "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_5c41d09b2e\""
#define USAGE                                                                                                          \
    "\"usage\":{\"prompt_tokens\":219,\"completion_tokens\":64,\"total_tokens\":283,"                                  \
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"                                              \
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"                                        \
    "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"

static const char WHOLE[] =
    "{" ANSWER_ID ",\"object\":\"chat.completion\"," CREATED ",\"choices\":[{\"index\":0,\"message\":{"
    "\"role\":\"assistant\",\"content\":\"~%018llu Three causes fit these figures. A lock that is held too long comes "
    "first: read the wait events and find the session that holds it. A cache that lost its keys is second: compare the "
    "hit ratio by key. A slow disk is third: look at its queue. Shorten the transaction today.\",\"refusal\":null,"
    "\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE "," TAIL "}";
static const char CHUNK[] =
    "data: {" ANSWER_ID ",\"object\":\"chat.completion.chunk\"," CREATED "," TAIL ",\"choices\":[{\"index\":0,"
    "\"delta\":{%s\"content\":\"~%018llu lock \"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
static const char FINISH[] =
    "data: {" ANSWER_ID ",\"object\":\"chat.completion.chunk\"," CREATED "," TAIL ",\"choices\":[{\"index\":0,"
    "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
static const char CLOSING[] =
    "data: {" ANSWER_ID ",\"object\":\"chat.completion.chunk\"," CREATED "," TAIL ",\"choices\":[]," USAGE "}\n\n";

struct peer {
    int fd;
    bool is_stream;
    int piece;         /* the piece of the answer that comes next, or NOTHING_UNDER_WAY */
    uint64_t pace_ns;  /* between pieces; 0 sends them as fast as the socket takes them */
    uint64_t due_ns;   /* of the next piece */
    size_t have;       /* bytes in `request` */
    size_t sent, held; /* of `piece_text`, what the socket took and how much there is */
    char piece_text[PIECE_BYTES];
    char request[REQUEST_BYTES];
};

static struct peer *peers[MAX_PEERS]; /* by file descriptor */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void drop(struct peer *peer)
{
    close(peer->fd);
    peers[peer->fd] = NULL;
    free(peer);
}

/* Take one complete request off the front of the buffer. Returns 1, or 0 when it is not complete, or -1 for garbage. */
static int take_request(struct peer *peer)
{
    char *head_end = memmem(peer->request, peer->have, "\r\n\r\n", 4);
    if (!head_end)
        return peer->have == REQUEST_BYTES ? -1 : 0;
    size_t head = (size_t)(head_end - peer->request) + 4;
    *head_end = '\0';
    const char *length_line = strcasestr(peer->request, "\r\ncontent-length:");
    size_t length = length_line ? strtoul(length_line + 17, NULL, 10) : 0;
    *head_end = '\r';
    if (!length_line || head + length > REQUEST_BYTES)
        return -1;
    if (peer->have < head + length)
        return 0;
    const char *body = peer->request + head;
    const char *stream = memmem(body, length, "\"stream\":", 9);
    peer->is_stream = stream && memmem(stream, strnlen(stream, 14), "true", 4);
    const char *pace = memmem(body, length, "(pace: ", 7);
    peer->pace_ns = pace ? strtoul(pace + 7, NULL, 10) * 1000 : 0;
    peer->due_ns = now_ns() + peer->pace_ns;
    peer->piece = 0;
    peer->have -= head + length;
    memmove(peer->request, peer->request + head + length, peer->have);
    return 1;
}

static void hold(struct peer *peer, const char *data, size_t size)
{
    memcpy(peer->piece_text + peer->held, data, size);
    peer->held += size;
}

static void hold_chunk(struct peer *peer, const char *data, size_t size)
{
    char frame[16];
    hold(peer, frame, (size_t)snprintf(frame, sizeof frame, "%zx\r\n", size));
    hold(peer, data, size);
    hold(peer, "\r\n", 2);
}

static void hold_whole(struct peer *peer)
{
    static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_upstream\r\n"
                               "Content-Length: %d\r\n\r\n";
    char body[PIECE_BYTES / 2], head[256];
    int size = snprintf(body, sizeof body, WHOLE, (unsigned long long)now_ns());
    hold(peer, head, (size_t)snprintf(head, sizeof head, HEAD, size));
    hold(peer, body, (size_t)size);
    peer->piece = NOTHING_UNDER_WAY;
}

static void hold_event(struct peer *peer)
{
    static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                               "Cache-Control: no-cache\r\nx-request-id: req_upstream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    int number = peer->piece++;
    if (number == 0)
        hold(peer, HEAD, sizeof HEAD - 1);
    if (number < CHUNKS) {
        char event[1024];
        const char *role = number ? "" : "\"role\":\"assistant\",";
        hold_chunk(peer, event, (size_t)snprintf(event, sizeof event, CHUNK, role, (unsigned long long)now_ns()));
    } else if (number == CHUNKS) {
        hold_chunk(peer, FINISH, sizeof FINISH - 1);
    } else {
        hold_chunk(peer, CLOSING, sizeof CLOSING - 1);
        hold_chunk(peer, "data: [DONE]\n\n", 14);
        hold(peer, "0\r\n\r\n", 5);
        peer->piece = NOTHING_UNDER_WAY;
    }
}

/* Do all that can be done now: send what is held, then the next piece if it is due, then the next request's answer.
 * Returns false when the connection is of no more use. */
static bool advance(struct peer *peer)
{
    for (;;) {
        while (peer->sent < peer->held) {
            ssize_t size = send(peer->fd, peer->piece_text + peer->sent, peer->held - peer->sent, MSG_NOSIGNAL);
            if (size < 0)
                return errno == EAGAIN || errno == EINTR;
            peer->sent += (size_t)size;
        }
        peer->sent = peer->held = 0;
        if (peer->piece == NOTHING_UNDER_WAY) {
            int taken = take_request(peer);
            if (taken <= 0)
                return taken == 0;
        }
        if (peer->pace_ns) {
            uint64_t now = now_ns();
            if (now < peer->due_ns)
                return true;
            peer->due_ns = now + peer->pace_ns;
        }
        if (peer->is_stream)
            hold_event(peer);
        else
            hold_whole(peer);
    }
}

/* Read all that is there and act on it. Returns false when the connection is of no more use. */
static bool receive(struct peer *peer)
{
    for (;;) {
        ssize_t size = recv(peer->fd, peer->request + peer->have, REQUEST_BYTES - peer->have, 0);
        if (size < 0)
            return errno == EAGAIN || errno == EINTR;
        if (size == 0)
            return false;
        peer->have += (size_t)size;
        if (!advance(peer))
            return false;
    }
}

static void accept_all(int listener, int poll)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = fd < MAX_PEERS ? calloc(1, sizeof *peer) : NULL;
        if (!peer) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peer->fd = fd;
        peer->piece = NOTHING_UNDER_WAY;
        peers[fd] = peer;
        struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &interest);
    }
}

/* Send the paced pieces that are due; return how long to sleep until the next one, at most 100 ms. */
static struct timespec send_due_pieces(int highest_fd)
{
    uint64_t now = now_ns(), wake = now + 100000000;
    for (int fd = 0; fd <= highest_fd; fd++) {
        struct peer *peer = peers[fd];
        if (!peer || !peer->pace_ns || peer->piece == NOTHING_UNDER_WAY)
            continue;
        if (peer->due_ns <= now && !advance(peer)) {
            drop(peer);
            continue;
        }
        if (peer->piece != NOTHING_UNDER_WAY && peer->due_ns < wake)
            wake = peer->due_ns;
    }
    now = now_ns();
    uint64_t pause = wake > now ? wake - now : 0;
    return (struct timespec){.tv_sec = 0, .tv_nsec = (long)pause};
}

static int listen_on(int port)
{
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        fprintf(stderr, "upstream: port %d cannot be used: %s\n", port, strerror(errno));
        exit(1);
    }
    return listener;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: upstream PORT MAX_SECONDS\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int listener = listen_on(atoi(arguments[1])), poll = epoll_create1(EPOLL_CLOEXEC), highest_fd = listener;
    uint64_t end = now_ns() + strtoul(arguments[2], NULL, 10) * 1000000000u;
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &interest);
    while (now_ns() < end) {
        struct timespec pause = send_due_pieces(highest_fd);
        int ready = epoll_pwait2(poll, events, EVENTS, &pause, NULL);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener, poll);
                continue;
            }
            struct peer *peer = peers[fd];
            if (!peer)
                continue;
            highest_fd = fd > highest_fd ? fd : highest_fd;
            uint32_t news = events[i].events;
            if (((news & EPOLLOUT) && !advance(peer)) || ((news & ~(uint32_t)EPOLLOUT) && !receive(peer)))
                drop(peer);
        }
    }
    return 0;
}
