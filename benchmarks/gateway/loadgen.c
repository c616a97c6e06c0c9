/* Load for an OpenAI-compatible endpoint on loopback, every answer checked; prints one JSON object.
 *
 *   loadgen -p PORT -b BODY_FILE [-H 'Name: value']… [-e TEXT]… [-s CHUNKS]
 *           [-c CONNECTIONS] [-r RATE] [-w WARMUP_SECONDS] [-d SECONDS]
 *
 * Closed loop: each connection sends its next request when its last one is answered. With -r an open loop: requests are
 * due RATE times a second whatever the server does, and their latency counts from when they were due, so a server that
 * stalls cannot hide the requests that it kept waiting (no coordinated omission).
 *
 * An answer is good if its status is 200, its body is complete as framed, and every TEXT of -e stands in it; with -s it
 * must also hold at least CHUNKS stamps and end with [DONE]. A stamp is '~' and 18 digits, the nanoseconds of
 * CLOCK_MONOTONIC at which upstream.c wrote it. Nothing is cut off at the end: what was sent is waited for, so that
 * "answered" is exactly what the server served.
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

enum { BUFFER = 512 * 1024, MAX_TEXTS = 16, MAX_ERRORS = 1000, STAMP = 19, EVENTS = 256 };
#define DRAIN_NS 30000000000u

enum phase { IDLE, CONNECTING, HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS };

struct call {
    int fd; /* -1: not connected */
    enum phase phase;
    uint64_t due_ns, first_ns;
    size_t sent, at, have, body, scanned, remaining; /* `at` of `have` raw bytes are parsed into `body` bytes of text */
    int status, stamps;
    bool closes;
    char *raw, *text;
};

struct samples {
    uint64_t *values;
    size_t count, room;
};

static struct {
    int port, connections, chunks, texts, poll;
    double rate, warmup_s, seconds;
    char *request, *text[MAX_TEXTS];
    size_t request_bytes;
} with = {.connections = 1, .seconds = 8, .warmup_s = 0.5};

static struct samples total, first, transit;
static uint64_t began_ns, measure_ns, end_ns;
static unsigned long answered, good_in_time, chunks_in_time, in_flight, errors;
static unsigned long bad_status, bad_content, cut_short, not_connected, unanswered;
static char first_error[512];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void add(struct samples *samples, uint64_t value)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 4096;
        samples->values = realloc(samples->values, samples->room * sizeof *samples->values);
        if (!samples->values)
            exit(1);
    }
    samples->values[samples->count++] = value;
}

static int ascending(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, struct samples *samples)
{
    static const double QUANTILES[] = {0.5, 0.9, 0.99, 0.999, 1.0};
    static const char *const NAMES[] = {"p50", "p90", "p99", "p999", "max"};
    printf(", \"%s\": {\"count\": %zu", name, samples->count);
    qsort(samples->values, samples->count, sizeof *samples->values, ascending);
    for (size_t i = 0; i < sizeof QUANTILES / sizeof *QUANTILES && samples->count; i++) {
        size_t rank = (size_t)(QUANTILES[i] * (double)(samples->count - 1) + 0.5);
        printf(", \"%s\": %.1f", NAMES[i], (double)samples->values[rank] / 1000);
    }
    printf("}");
}

static void note_error(unsigned long *counter, const char *what, const struct call *call)
{
    ++*counter;
    ++errors;
    if (*first_error)
        return;
    int size = snprintf(first_error, 100, "%s (status %d): ", what, call->status);
    for (size_t i = 0; i < call->body && size < (int)sizeof first_error - 1; i++) {
        char byte = call->text[i];
        first_error[size++] = (byte < ' ' || byte == '"' || byte == '\\' || byte > '~') ? ' ' : byte;
    }
}

/* Count the stamps that came in with the last bytes of the body, each with the time that it was on its way. */
static void read_stamps(struct call *call, uint64_t now)
{
    char *end = call->text + call->body, *mark = call->text + call->scanned;
    while ((mark = memchr(mark, '~', (size_t)(end - mark))) && end - mark >= STAMP) {
        uint64_t stamp = 0;
        int digit = 1;
        for (; digit < STAMP && mark[digit] >= '0' && mark[digit] <= '9'; digit++)
            stamp = stamp * 10 + (uint64_t)(mark[digit] - '0');
        mark++;
        if (digit < STAMP || stamp > now)
            continue;
        call->stamps++;
        if (now >= measure_ns && now < end_ns) {
            add(&transit, now - stamp);
            chunks_in_time++;
        }
    }
    call->scanned = (size_t)((mark ? mark : end) - call->text);
}

static bool append(struct call *call, size_t limit, uint64_t now)
{
    size_t size = call->have - call->at < limit ? call->have - call->at : limit;
    if (call->body + size > BUFFER)
        return false;
    memcpy(call->text + call->body, call->raw + call->at, size);
    call->at += size;
    call->body += size;
    call->remaining -= size;
    if (size && !call->first_ns)
        call->first_ns = now;
    read_stamps(call, now);
    return true;
}

static void read_head(struct call *call, size_t size)
{
    char *head = call->raw + call->at, *line;
    head[size - 1] = '\0';
    call->status = atoi(head + strcspn(head, " "));
    call->phase = CHUNK_SIZE;
    if ((line = strcasestr(head, "\r\ncontent-length:"))) {
        call->remaining = strtoul(line + 17, NULL, 10);
        call->phase = LENGTH;
    } else if (!strcasestr(head, "\r\ntransfer-encoding: chunked")) {
        call->remaining = SIZE_MAX; /* ends with the connection, which is never a complete answer here */
        call->phase = LENGTH;
    }
    call->closes = strcasestr(head, "\r\nconnection: close") != NULL;
    call->at += size;
}

/* Parse what has arrived. Returns 1 when the answer is complete, 0 when more must come, -1 when it is no HTTP. */
static int parse(struct call *call, uint64_t now)
{
    for (;;) {
        char *from = call->raw + call->at;
        size_t left = call->have - call->at;
        char *line_end = memmem(from, left, "\r\n", 2);
        size_t line = line_end ? (size_t)(line_end - from) + 2 : 0;
        switch (call->phase) {
        case HEAD: {
            char *head_end = memmem(from, left, "\r\n\r\n", 4);
            if (!head_end)
                return 0;
            read_head(call, (size_t)(head_end - from) + 4);
            break;
        }
        case LENGTH:
            if (!append(call, call->remaining, now))
                return -1;
            return call->remaining == 0;
        case CHUNK_SIZE:
            if (!line)
                return 0;
            call->remaining = strtoul(from, NULL, 16);
            call->at += line;
            call->phase = call->remaining ? CHUNK_DATA : TRAILERS;
            break;
        case CHUNK_DATA:
            if (!append(call, call->remaining, now))
                return -1;
            if (call->remaining)
                return 0;
            call->phase = CHUNK_END;
            break;
        case CHUNK_END:
            if (left < 2)
                return 0;
            if (line != 2)
                return -1;
            call->at += 2;
            call->phase = CHUNK_SIZE;
            break;
        case TRAILERS:
            if (!line)
                return 0;
            call->at += line;
            if (line == 2)
                return 1;
            break;
        default:
            return -1;
        }
    }
}

static void disconnect(struct call *call)
{
    close(call->fd);
    call->fd = -1;
}

static void finish(struct call *call, uint64_t now, bool is_good)
{
    call->phase = IDLE;
    in_flight--;
    if (call->closes || !is_good)
        disconnect(call);
    if (!is_good)
        return;
    /* A closed loop counts what ended in the window; an open one what was due in it, however long that took. */
    uint64_t moment = with.rate > 0 ? call->due_ns : now;
    if (moment < measure_ns || moment >= end_ns)
        return;
    good_in_time++;
    add(&total, now - call->due_ns);
    add(&first, call->first_ns - call->due_ns);
}

static void complete(struct call *call, uint64_t now)
{
    answered++;
    const char *missing = NULL;
    for (int i = 0; i < with.texts && !missing; i++)
        if (!memmem(call->text, call->body, with.text[i], strlen(with.text[i])))
            missing = with.text[i];
    if (with.chunks) {
        size_t end = call->body < 16 ? call->body : 16;
        if (call->stamps < with.chunks)
            missing = "a chunk";
        else if (!memmem(call->text + call->body - end, end, "[DONE]", 6))
            missing = "[DONE]";
    }
    if (call->status != 200)
        note_error(&bad_status, "status", call);
    else if (missing)
        note_error(&bad_content, missing, call);
    finish(call, now, call->status == 200 && !missing);
}

static void push(struct call *call)
{
    while (call->sent < with.request_bytes) {
        ssize_t size = send(call->fd, with.request + call->sent, with.request_bytes - call->sent, MSG_NOSIGNAL);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                note_error(&cut_short, "send", call);
                finish(call, 0, false);
            }
            return;
        }
        call->sent += (size_t)size;
    }
}

static void start(struct call *call, uint64_t due)
{
    call->due_ns = due;
    call->first_ns = call->sent = call->at = call->have = call->body = call->scanned = 0;
    call->status = call->stamps = 0;
    call->phase = HEAD;
    in_flight++;
    if (call->fd >= 0) {
        push(call);
        return;
    }
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)with.port)};
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = call};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(call->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    call->phase = CONNECTING;
    connect(call->fd, (struct sockaddr *)&address, sizeof address);
    epoll_ctl(with.poll, EPOLL_CTL_ADD, call->fd, &interest);
}

static void receive(struct call *call)
{
    for (;;) {
        ssize_t size = recv(call->fd, call->raw + call->have, BUFFER - call->have, 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (call->phase == IDLE) { /* a kept connection that the server has closed, or bytes that nobody asked for */
            if (size > 0)
                note_error(&bad_content, "bytes after the answer", call);
            disconnect(call);
            return;
        }
        uint64_t now = now_ns();
        int state = -1;
        if (size > 0) {
            call->have += (size_t)size;
            state = parse(call, now);
            if (call->at == call->have)
                call->at = call->have = 0;
        }
        if (state == 1) {
            complete(call, now);
            return;
        }
        if (state < 0) {
            note_error(&cut_short, "cut short", call);
            finish(call, now, false);
            return;
        }
    }
}

static void act(struct call *call, uint32_t events)
{
    if (call->phase == CONNECTING) {
        int reason = 0;
        socklen_t size = sizeof reason;
        getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &reason, &size);
        if (reason || !(events & EPOLLOUT)) {
            note_error(&not_connected, reason ? strerror(reason) : "not connected", call);
            finish(call, 0, false);
            return;
        }
        call->phase = HEAD;
    }
    if (call->phase == HEAD)
        push(call);
    if (call->fd >= 0 && (events & ~(uint32_t)EPOLLOUT))
        receive(call);
}

static void add_header(char *line)
{
    with.request_bytes += (size_t)sprintf(with.request + with.request_bytes, "%s\r\n", line);
}

static void read_arguments(int count, char **arguments)
{
    char line[64], *body = malloc(BUFFER);
    const char *body_path = "/dev/null";
    with.request = malloc(2 * BUFFER);
    with.request_bytes = (size_t)sprintf(with.request, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (int option; (option = getopt(count, arguments, "p:b:H:e:c:r:w:d:s:")) != -1;) {
        switch (option) {
        case 'p': with.port = atoi(optarg); break;
        case 'b': body_path = optarg; break;
        case 'H': add_header(optarg); break;
        case 'e': with.text[with.texts < MAX_TEXTS - 1 ? with.texts++ : with.texts] = optarg; break;
        case 'c': with.connections = atoi(optarg); break;
        case 'r': with.rate = atof(optarg); break;
        case 'w': with.warmup_s = atof(optarg); break;
        case 'd': with.seconds = atof(optarg); break;
        case 's': with.chunks = atoi(optarg); break;
        default: exit(2);
        }
    }
    FILE *file = fopen(body_path, "rb");
    size_t body_bytes = file ? fread(body, 1, BUFFER, file) : 0;
    if (!body_bytes || !with.port) {
        fprintf(stderr, "loadgen: name a port and a file with the body\n");
        exit(2);
    }
    fclose(file);
    add_header("Content-Type: application/json");
    snprintf(line, sizeof line, "Content-Length: %zu\r\n", body_bytes);
    add_header(line);
    memcpy(with.request + with.request_bytes, body, body_bytes);
    with.request_bytes += body_bytes;
    free(body);
}

static void print_result(void)
{
    printf("{\"sent_ok\": %lu, \"answered\": %lu, \"seconds\": %.3f, \"rps\": %.2f, \"chunks_per_s\": %.1f",
           good_in_time, answered, with.seconds, (double)good_in_time / with.seconds,
           (double)chunks_in_time / with.seconds);
    printf(", \"errors\": {\"status\": %lu, \"content\": %lu, \"cut_short\": %lu, \"not_connected\": %lu, "
           "\"unanswered\": %lu}, \"first_error\": \"%s\"",
           bad_status, bad_content, cut_short, not_connected, unanswered, first_error);
    print_samples("total_us", &total);
    print_samples("first_us", &first);
    print_samples("transit_us", &transit);
    printf("}\n");
}

int main(int count, char **arguments)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    read_arguments(count, arguments);
    with.poll = epoll_create1(EPOLL_CLOEXEC);
    struct call *calls = calloc((size_t)with.connections, sizeof *calls);
    for (int i = 0; i < with.connections; i++)
        calls[i] = (struct call){.fd = -1, .raw = malloc(BUFFER), .text = malloc(BUFFER)};
    began_ns = now_ns();
    measure_ns = began_ns + (uint64_t)(with.warmup_s * 1e9);
    end_ns = measure_ns + (uint64_t)(with.seconds * 1e9);
    uint64_t gap_ns = with.rate > 0 ? (uint64_t)(1e9 / with.rate) : 0, due = began_ns;
    for (uint64_t now = began_ns; now < end_ns + DRAIN_NS; now = now_ns()) {
        /* What was due in time is sent, however late: to leave it out would flatter a server that stalls. */
        bool has_more = errors < MAX_ERRORS && (gap_ns ? due : now) < end_ns;
        if (!has_more && !in_flight)
            break;
        /* An idle connection takes the oldest request that is due; without a rate one is always due. */
        uint64_t wake = now + 100000000;
        for (int i = 0; i < with.connections && has_more; i++) {
            if (calls[i].phase != IDLE)
                continue;
            if (gap_ns && due > now) {
                wake = due < wake ? due : wake;
                break;
            }
            start(&calls[i], gap_ns ? due : now_ns());
            due += gap_ns;
            has_more = !gap_ns || due < end_ns;
        }
        struct timespec pause = {.tv_nsec = (long)(wake - now)};
        struct epoll_event events[EVENTS];
        int ready = epoll_pwait2(with.poll, events, EVENTS, &pause, NULL);
        for (int i = 0; i < ready; i++)
            if (((struct call *)events[i].data.ptr)->fd >= 0)
                act(events[i].data.ptr, events[i].events);
    }
    unanswered = in_flight + (gap_ns && due < end_ns && errors < MAX_ERRORS ? (end_ns - due) / gap_ns : 0);
    print_result();
    return 0;
}
