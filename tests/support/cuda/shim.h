// Runs CUDA C++ on the host, thread by thread, to test it where there is no GPU. Not for speed.
//
// A block runs at a time; each of its threads is a fiber that runs until it meets a barrier or a shuffle.
// Blocks and threads run in an order that a seed chooses. Shared memory is fresh heap memory, full of garbage,
// for every block, so that wrong results, address and thread sanitizers see what a GPU would get wrong.
// Found here: barriers that not all threads reach, shuffles that lanes do not share, writes beyond shared
// memory, wrong launch sizes. Not modelled: warps in lockstep, several blocks at once, memory ordering.
#pragma once
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__SANITIZE_THREAD__)
extern "C" void* __tsan_get_current_fiber();
extern "C" void* __tsan_create_fiber(unsigned);
extern "C" void __tsan_destroy_fiber(void*);
extern "C" void __tsan_switch_to_fiber(void*, unsigned);
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
#define UNWATCHED __attribute__((no_sanitize("thread")))
#else
#define UNWATCHED
#endif
#if defined(__SANITIZE_ADDRESS__)
extern "C" void __sanitizer_start_switch_fiber(void**, const void*, size_t);
extern "C" void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
#endif

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define SHARED(type, name, count) \
    static const char name##_site = 0; \
    type* const name = host::shared<type>(&name##_site, count)

namespace host {

struct Index { unsigned x, y, z; };
enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };

struct Fiber {
    Index thread;
    unsigned number;
    State state;
    int site;             // source line of the barrier or shuffle it waits at
    uint64_t given, got;  // exchanged by a shuffle
    unsigned from;        // a lane, or ALIKE
    unsigned barriers, warp_barriers;  // met so far
    ucontext_t context;
    char* stack = nullptr;
    void *tsan = nullptr, *asan = nullptr;
};

const size_t STACK = 64 << 10;
const unsigned WARP = 32, LARGEST_BLOCK = 1024;
const unsigned ALIKE = ~0u;  // asks for the mask of lanes that gave the same, not for what one of them gave

static Index g_grid, g_block, g_block_index;
static std::vector<Fiber> g_fibers(LARGEST_BLOCK);
static Fiber* g_now;
static ucontext_t g_scheduler;
static void *g_scheduler_tsan, *g_scheduler_asan;
static const void* g_scheduler_stack;
static size_t g_scheduler_size;
static void (*g_body)(void*);
static void* g_argument;
static unsigned g_order = 0;
static unsigned char g_poison = 0xA5;
static std::string g_error;
static bool g_abandon;
// What synchronizes, for the thread sanitizer. Two of each in turn: a thread that waits at the next barrier already
// must not be ordered before one that has yet to leave this one.
static char g_launch_done, g_barrier[2], g_warps[2][LARGEST_BLOCK / WARP];

struct Abandoned {};

static void fail(const std::string& what, int site)
{
    if (g_error.empty())
        g_error = what + ", line " + std::to_string(site) + ", block " + std::to_string(g_block_index.x) + ","
                  + std::to_string(g_block_index.y);
    g_abandon = true;
}

static void release(void* what)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_release(what);
#else
    (void)what;
#endif
}

static void acquire(void* what)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(what);
#else
    (void)what;
#endif
}

// ---- switching between fibers and the scheduler ------------------------------------------------------------

UNWATCHED static void to_scheduler(bool for_good)
{
    Fiber* self = g_now;
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(g_scheduler_tsan, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &self->asan, g_scheduler_stack, g_scheduler_size);
#endif
    (void)for_good;
    swapcontext(&self->context, &g_scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(self->asan, &g_scheduler_stack, &g_scheduler_size);
#endif
    if (g_abandon) throw Abandoned();
}

UNWATCHED static void to_fiber(Fiber& fiber)
{
    g_now = &fiber;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&g_scheduler_asan, fiber.stack, STACK);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(fiber.tsan, 1);
#endif
    swapcontext(&g_scheduler, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(g_scheduler_asan, nullptr, nullptr);
#endif
}

UNWATCHED static void fiber_main()
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &g_scheduler_stack, &g_scheduler_size);
#endif
    try {
        g_body(g_argument);
    } catch (Abandoned&) {
    }
    g_now->state = DONE;
    release(&g_launch_done);
    to_scheduler(true);
}

// ---- what a thread waits for -------------------------------------------------------------------------------

UNWATCHED static void barrier(int site)
{
    g_now->state = AT_BARRIER;
    g_now->site = site;
    char* meeting = &g_barrier[g_now->barriers++ % 2];
    release(meeting);
    to_scheduler(false);
    acquire(meeting);
}

// Exchanges values and orders nothing else, as on the device: memory is ordered by warp_barrier() alone.
UNWATCHED static uint64_t shuffle(uint32_t mask, uint64_t value, unsigned from, int site)
{
    if (mask != ~0u) fail("a shuffle of part of a warp is not modelled", site);
    g_now->state = AT_SHUFFLE;
    g_now->site = site;
    g_now->given = value;
    g_now->from = from;
    to_scheduler(false);
    return g_now->got;
}

UNWATCHED static void warp_barrier(int site)
{
    char* meeting = &g_warps[g_now->warp_barriers++ % 2][g_now->number / WARP];
    release(meeting);
    shuffle(~0u, 0, 0, site);
    acquire(meeting);
}

// All lanes at one shuffle: exchange. Some lanes elsewhere, or at another one: the kernel is wrong.
static void settle_warp(Fiber* lanes, unsigned count)
{
    unsigned waiting = 0;
    for (unsigned i = 0; i < count; ++i) waiting += lanes[i].state == AT_SHUFFLE;
    if (!waiting) return;
    if (waiting < count || count < WARP) return fail("a shuffle that not all lanes of a warp reach", lanes[0].site);
    for (unsigned i = 0; i < count; ++i)
        if (lanes[i].site != lanes[0].site) return fail("lanes at different shuffles", lanes[i].site);
    for (unsigned i = 0; i < count; ++i) {
        lanes[i].got = lanes[lanes[i].from % WARP].given;
        if (lanes[i].from != ALIKE) continue;
        lanes[i].got = 0;
        for (unsigned j = 0; j < count; ++j) lanes[i].got |= (uint64_t)(lanes[j].given == lanes[i].given) << j;
    }
    for (unsigned i = 0; i < count; ++i) lanes[i].state = READY;
}

static void settle_block(unsigned threads)
{
    for (unsigned w = 0; w < threads; w += WARP) settle_warp(&g_fibers[w], std::min(WARP, threads - w));
    unsigned done = 0, waiting = 0;
    int site = 0;
    for (unsigned i = 0; i < threads; ++i) {
        done += g_fibers[i].state == DONE;
        waiting += g_fibers[i].state == AT_BARRIER;
        if (g_fibers[i].state != AT_BARRIER) continue;
        if (site && site != g_fibers[i].site) fail("threads at different barriers", site);
        site = g_fibers[i].site;
    }
    if (waiting && waiting + done == threads) {
        if (done) fail("a barrier that not all threads of a block reach", site);
        for (unsigned i = 0; i < threads; ++i)
            if (g_fibers[i].state == AT_BARRIER) g_fibers[i].state = READY;
    }
}

// ---- shared memory -----------------------------------------------------------------------------------------

struct Shared { const void* site; char* memory; size_t bytes; };
static Shared g_shared[16];  // plain arrays: the thread sanitizer watches what a std::vector does inside
static unsigned g_shared_count;
static std::vector<char*> g_spent;
static std::vector<void*> g_gone;  // fibers, as the thread sanitizer knows them

UNWATCHED static char* shared_bytes(const void* site, size_t bytes)
{
    for (unsigned i = 0; i < g_shared_count; ++i)
        if (g_shared[i].site == site) {
            acquire(g_shared[i].memory);
            return g_shared[i].memory;
        }
    char* memory = (char*)malloc(bytes);
    for (size_t i = 0; i < bytes; ++i) ((volatile char*)memory)[i] = (char)g_poison;
    size_t total = bytes;
    for (unsigned i = 0; i < g_shared_count; ++i) total += g_shared[i].bytes;
    if (g_shared_count == 16 || total > (48 << 10)) {
        fail("more than 48 KiB of static shared memory, or more than 16 arrays", 0);
        throw Abandoned();
    }
    g_shared[g_shared_count++] = {site, memory, bytes};
    release(memory);
    return memory;
}

template <class T>
static T* shared(const void* site, size_t count) { return (T*)shared_bytes(site, count * sizeof(T)); }

// ---- running a grid ----------------------------------------------------------------------------------------

static std::vector<unsigned> in_order(unsigned count, unsigned salt)
{
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0u);
    if (g_order == 1) std::reverse(order.begin(), order.end());
    if (g_order > 1) std::shuffle(order.begin(), order.end(), std::mt19937(g_order * 7919u + salt));
    return order;
}

UNWATCHED static void run_block(unsigned threads, const std::vector<unsigned>& order)
{
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = g_fibers[i];
        fiber.number = i;
        fiber.thread = {i % g_block.x, i / g_block.x % g_block.y, i / (g_block.x * g_block.y)};
        fiber.state = READY;
        fiber.barriers = fiber.warp_barriers = 0;
        if (!fiber.stack)
            fiber.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &g_scheduler;
        makecontext(&fiber.context, fiber_main, 0);
#if defined(__SANITIZE_THREAD__)
        // Kept until the launch ends, too: with a fiber goes what the sanitizer knows of its last accesses.
        g_gone.push_back(fiber.tsan = __tsan_create_fiber(0));
#endif
    }
    for (bool running = true; running;) {
        running = false;
        for (unsigned i : order)
            if (g_fibers[i].state == READY) to_fiber(g_fibers[i]);
        settle_block(threads);
        for (unsigned i = 0; i < threads; ++i) {
            if (g_abandon && g_fibers[i].state != DONE) g_fibers[i].state = READY;
            running |= g_fibers[i].state != DONE;
        }
    }
    // Kept until the launch ends: to free them now would order this block before the next one.
    for (; g_shared_count; --g_shared_count) g_spent.push_back(g_shared[g_shared_count - 1].memory);
}

static int run_grid(const unsigned* grid, const unsigned* block, unsigned bound, void (*body)(void*), void* argument)
{
    g_error.clear();
    g_abandon = false;
    g_grid = {grid[0], grid[1], grid[2]};
    g_block = {block[0], block[1], block[2]};
    g_block_index = {0, 0, 0};
    const uint64_t threads = (uint64_t)block[0] * block[1] * block[2];
    const uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    if (!threads || threads > bound) fail("a block of " + std::to_string(threads) + " threads", 0);
    if (!blocks || grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) fail("an invalid grid", 0);
    if (g_abandon) return 1;
    g_body = body;
    g_argument = argument;
#if defined(__SANITIZE_THREAD__)
    g_scheduler_tsan = __tsan_get_current_fiber();
#endif
    for (unsigned b : in_order((unsigned)blocks, 1)) {
        g_block_index = {b % grid[0], b / grid[0] % grid[1], b / (grid[0] * grid[1])};
        run_block((unsigned)threads, in_order((unsigned)threads, 17 + b));
        if (g_abandon) break;
    }
    acquire(&g_launch_done);
    for (char* memory : g_spent) free(memory);
    g_spent.clear();
#if defined(__SANITIZE_THREAD__)
    for (void* fiber : g_gone) __tsan_destroy_fiber(fiber);
    g_gone.clear();
#endif
    return g_abandon;
}

// ---- launching by a list of pointers to arguments, as the driver does ----------------------------------------

template <class T>
static std::string kind()
{
    const char letter = std::is_pointer_v<T> ? 'P' : std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
    return letter + std::to_string(sizeof(T)) + ' ';
}

template <class... A>
static std::string signature(void (*)(A...)) { return (std::string() + ... + kind<A>()); }

template <class... A, size_t... I>
static int launch_with(void (*kernel)(A...), const unsigned* grid, const unsigned* block, unsigned bound,
                       void** arguments, std::index_sequence<I...>)
{
    auto* held = new std::tuple<A...>{*static_cast<A*>(arguments[I])...};  // fresh: no earlier launch's thread saw it
    auto call = [held, kernel] { std::apply(kernel, *held); };
    const int failed = run_grid(grid, block, bound, [](void* c) { (*static_cast<decltype(call)*>(c))(); }, &call);
    delete held;
    return failed;
}

template <class... A>
static int launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, unsigned bound, void** arguments)
{
    return launch_with(kernel, grid, block, bound, arguments, std::index_sequence_for<A...>{});
}

// By value and unwatched: the scheduler's writes to these are no races of the kernel's.
UNWATCHED __attribute__((noinline)) static Index thread_index_now() { return g_now->thread; }
UNWATCHED __attribute__((noinline)) static Index block_index_now() { return g_block_index; }
UNWATCHED __attribute__((noinline)) static Index block_size_now() { return g_block; }
UNWATCHED __attribute__((noinline)) static Index grid_size_now() { return g_grid; }
UNWATCHED __attribute__((noinline)) static unsigned lane_now() { return g_now->number % WARP; }

template <class T>
static T shuffled(uint32_t mask, T value, unsigned from, int site)
{
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = shuffle(mask, bits, from, site);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class To, class From>
static To same_bits(From value)
{
    static_assert(sizeof(To) == sizeof(From));
    To bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

}  // namespace host

// ---- the part of CUDA that the kernels use -------------------------------------------------------------------

#define threadIdx (host::thread_index_now())
#define blockIdx (host::block_index_now())
#define blockDim (host::block_size_now())
#define gridDim (host::grid_size_now())
#define __syncthreads() host::barrier(__LINE__)
// A lane whose source lies beyond the warp keeps its own value, as on the device.
#define __shfl_down_sync(mask, value, distance) \
    host::shuffled((mask), (value), \
                   host::lane_now() + (unsigned)(distance) < host::WARP ? host::lane_now() + (unsigned)(distance) \
                                                                        : host::lane_now(), __LINE__)
#define __shfl_up_sync(mask, value, distance) \
    host::shuffled((mask), (value), \
                   host::lane_now() >= (unsigned)(distance) ? host::lane_now() - (unsigned)(distance) \
                                                            : host::lane_now(), __LINE__)
#define __match_any_sync(mask, value) ((unsigned)host::shuffle((mask), (value), host::ALIKE, __LINE__))
#define __syncwarp() host::warp_barrier(__LINE__)

static inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
static inline int __clz(int bits) { return bits ? __builtin_clz((unsigned)bits) : 32; }

template <class T>
static T atomicAdd(T* at, T value) { return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }

template <class T>
static T atomicXor(T* at, T value) { return __atomic_fetch_xor(at, value, __ATOMIC_RELAXED); }

template <class T>
static T atomicMax(T* at, T value)
{
    T seen = __atomic_load_n(at, __ATOMIC_RELAXED);
    // No variable by its address: blocks use one another's stacks, which would look like a race.
    for (T found; seen < value; seen = found)
        if ((found = __sync_val_compare_and_swap(at, seen, value)) == seen) break;
    return seen;
}

static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline long long __double_as_longlong(double value) { return host::same_bits<long long>(value); }
static inline double __longlong_as_double(long long bits) { return host::same_bits<double>(bits); }
static inline unsigned __float_as_uint(float value) { return host::same_bits<unsigned>(value); }
static inline float __uint_as_float(unsigned bits) { return host::same_bits<float>(bits); }
