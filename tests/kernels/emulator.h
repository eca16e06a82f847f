// CUDA's words for a C++ compiler: a block's threads are fibers that one thread of the machine runs in turn, from one barrier to the
// next. What a kernel computes is what a GPU computes, but for fused products and the last bits of its functions.
//
// It finds barriers that are missing: the order in which fibers run is chosen by whoever launches, and results must not depend on it.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct Dim { unsigned x, y, z; };
static Dim threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
enum State { READY, AT_BLOCK, AT_WARP, DONE };
struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  State state;
  unsigned shuffles;
};
static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static Fiber* running;
static std::vector<unsigned> slots[2];
static void (*body)(void**);
static void** arguments;

static void wait(State state) {
  running->state = state;
  swapcontext(&running->context, &scheduler);
}
static void enter() {
  body(arguments);
  running->state = DONE;
  swapcontext(&running->context, &scheduler);
}
// Whether all of some fibers that still run wait for each other, so that they may go on.
static bool together(unsigned first, unsigned end, State state) {
  bool any = false;
  for (unsigned i = first; i < end; i++) {
    if (fibers[i].state == DONE) continue;
    if (fibers[i].state != state) return false;
    any = true;
  }
  return any;
}
static void block(unsigned threads, bool backwards) {
  fibers.resize(threads);
  slots[0].resize(threads);
  slots[1].resize(threads);
  for (Fiber& fiber : fibers) {
    fiber.stack.resize(1 << 16);
    fiber.state = READY;
    fiber.shuffles = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (;;) {
    bool ran = false;
    for (unsigned turn = 0; turn < threads; turn++) {
      unsigned i = backwards ? threads - 1 - turn : turn;
      if (fibers[i].state != READY) continue;
      running = &fibers[i];
      threadIdx = {i, 0, 0};
      swapcontext(&scheduler, &fibers[i].context);
      ran = true;
    }
    for (unsigned warp = 0; warp < threads; warp += 32) {
      unsigned end = warp + 32 < threads ? warp + 32 : threads;
      if (!together(warp, end, AT_WARP)) continue;
      for (unsigned i = warp; i < end; i++)
        if (fibers[i].state == AT_WARP) fibers[i].state = READY;
      ran = true;
    }
    if (together(0, threads, AT_BLOCK)) {
      for (Fiber& fiber : fibers)
        if (fiber.state == AT_BLOCK) fiber.state = READY;
      ran = true;
    }
    if (ran) continue;
    for (Fiber& fiber : fibers)
      if (fiber.state != DONE) {
        fprintf(stderr, "threads wait at different barriers\n");
        abort();
      }
    return;
  }
}
static unsigned from_lane(unsigned value, unsigned lane) {
  unsigned side = running->shuffles++ % 2, own = threadIdx.x;
  slots[side][own] = value;
  wait(AT_WARP);
  unsigned other = own / 32 * 32 + lane;
  return other < slots[side].size() ? slots[side][other] : value;
}
template <class... A, std::size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*(A*)arguments[I]...);
}
template <class... A>
static void call(void (*kernel)(A...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<A...>());
}
template <class... A>
static constexpr unsigned count(void (*)(A...)) {
  return sizeof...(A);
}
}  // namespace emulated

static inline void __syncthreads() { emulated::wait(emulated::AT_BLOCK); }
static inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
static inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline unsigned __shfl_xor_sync(unsigned, unsigned x, int mask) { return emulated::from_lane(x, threadIdx.x % 32 ^ mask); }
static inline float __shfl_xor_sync(unsigned, float x, int mask) {
  return __uint_as_float(emulated::from_lane(__float_as_uint(x), threadIdx.x % 32 ^ mask));
}
static inline unsigned long long __shfl_xor_sync(unsigned, unsigned long long x, int mask) {
  int lane = threadIdx.x % 32 ^ mask;
  unsigned long long low = emulated::from_lane(unsigned(x), lane);
  return low | (unsigned long long)emulated::from_lane(unsigned(x >> 32), lane) << 32;
}
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
static inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)x); }
template <class T> static inline T atomicMax(T* to, T x) { T before = *to; if (x > before) *to = x; return before; }
template <class T> static inline T atomicAdd(T* to, T x) { T before = *to; *to += x; return before; }

#define KERNEL(name) {#name, emulated::count(name), [](void** arguments) { emulated::call(name, arguments); }}
struct Kernel { const char* name; unsigned arguments; void (*body)(void**); };
extern const Kernel kernels[];

// Runs a kernel by its name; 1 where there is none, 2 where it has another number of arguments.
extern "C" int emulate(const char* name, unsigned grid, unsigned block, int backwards, void** arguments, unsigned count) {
  for (const Kernel* kernel = kernels; kernel->name; kernel++) {
    if (strcmp(kernel->name, name)) continue;
    if (kernel->arguments != count) return 2;
    emulated::body = kernel->body;
    emulated::arguments = arguments;
    blockDim = {block, 1, 1};
    gridDim = {grid, 1, 1};
    for (unsigned i = 0; i < grid; i++) {
      blockIdx = {i, 0, 0};
      emulated::block(block, backwards);
    }
    return 0;
  }
  return 1;
}
