// What a training step does between its matrix products, on a GPU: the same as the loops in host.rs, with activations in bf16 or
// float32, the residual stream, gradients of weights and all sums in float32.
//
// One source for NVRTC and for the emulator of the tests; neither has CUDA's headers. Rows have a width of which 8 is a divisor, so that
// a thread reads and writes 8 neighbours at once. Sums have an order that the launch fixes: the same input gives the same bits.

typedef unsigned short bf16;

#define INFINITE __uint_as_float(0x7f800000u)
#define NOT_A_NUMBER __uint_as_float(0x7fc00000u)

__device__ __forceinline__ float widened(bf16 x) { return __uint_as_float(unsigned(x) << 16); }

// To nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ bf16 narrowed(float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bf16(bits >> 16 | 0x40u);
  return bf16((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Eight neighbours, as they lie in memory.
struct __align__(16) Words { unsigned word[4]; };

__device__ __forceinline__ void load8(const float* from, float* to) {
  Words low = ((const Words*)from)[0], high = ((const Words*)from)[1];
  for (int i = 0; i < 4; i++) { to[i] = __uint_as_float(low.word[i]); to[4 + i] = __uint_as_float(high.word[i]); }
}
__device__ __forceinline__ void load8(const bf16* from, float* to) {
  Words words = *(const Words*)from;
  for (int i = 0; i < 4; i++) {
    to[2 * i] = __uint_as_float(words.word[i] << 16);
    to[2 * i + 1] = __uint_as_float(words.word[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void store8(float* to, const float* from) {
  Words low, high;
  for (int i = 0; i < 4; i++) { low.word[i] = __float_as_uint(from[i]); high.word[i] = __float_as_uint(from[4 + i]); }
  ((Words*)to)[0] = low;
  ((Words*)to)[1] = high;
}
__device__ __forceinline__ void store8(bf16* to, const float* from) {
  Words words;
  for (int i = 0; i < 4; i++) words.word[i] = unsigned(narrowed(from[2 * i])) | unsigned(narrowed(from[2 * i + 1])) << 16;
  *(Words*)to = words;
}
__device__ __forceinline__ float load1(const float* from) { return *from; }
__device__ __forceinline__ float load1(const bf16* from) { return widened(*from); }

// The sum over a block of 256 threads, for all of them.
template <typename T>
__device__ __forceinline__ T block_sum(T x) {
  __shared__ T parts[8];
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  T sum = 0;
  for (int i = 0; i < 8; i++) sum += parts[i];
  __syncthreads();
  return sum;
}
template <typename T>
__device__ __forceinline__ T block_largest(T x) {
  __shared__ T parts[8];
  for (int step = 16; step > 0; step /= 2) {
    T other = __shfl_xor_sync(0xffffffffu, x, step);
    x = other > x ? other : x;
  }
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  T largest = parts[0];
  for (int i = 1; i < 8; i++) largest = parts[i] > largest ? parts[i] : largest;
  __syncthreads();
  return largest;
}

// `out = row * scale * weight` for the row of this block.
template <typename T>
__device__ __forceinline__ void scaled_row(const float* row, float scale, const float* weight, T* out, int width) {
  for (int at = threadIdx.x * 8; at < width; at += 2048) {
    float values[8], weights[8];
    load8(row + at, values);
    load8(weight + at, weights);
    for (int i = 0; i < 8; i++) values[i] *= scale * weights[i];
    store8(out + at, values);
  }
}

// A block for each row: `sum = x + add` where there is one, `out = row * scale * weight`, `scale = 1 / sqrt(mean(row^2) + epsilon)`.
template <typename T>
__device__ __forceinline__ void rms_norm_row(const float* x, const T* add, float* sum, const float* weight, float epsilon,
                                             T* out, float* scales, int width) {
  long row = long(blockIdx.x) * width;
  float squares = 0;
  for (int at = threadIdx.x * 8; at < width; at += 2048) {
    float values[8], others[8];
    load8(x + row + at, values);
    if (add) {
      load8(add + row + at, others);
      for (int i = 0; i < 8; i++) values[i] += others[i];
      store8(sum + row + at, values);
    }
    for (int i = 0; i < 8; i++) squares += values[i] * values[i];
  }
  float scale = 1.0f / sqrtf(block_sum(squares) / width + epsilon);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  scaled_row((add ? sum : x) + row, scale, weight, out + row, width);
}

// Each block takes every so manieth row. `partial` gets a row of sums a block, for the weight's gradient; `copy` the residual
// stream's gradient as the products read it.
template <typename T>
__device__ __forceinline__ void rms_norm_backward_rows(const float* x, const float* scales, const float* weight, const T* change,
                                                       float* gradient, int fresh, T* copy, float* partial, int rows,
                                                       int width) {
  float* sums = partial + long(blockIdx.x) * width;
  for (int at = threadIdx.x; at < width; at += 256) sums[at] = 0;
  __syncthreads();
  for (int number = blockIdx.x; number < rows; number += gridDim.x) {
    long row = long(number) * width;
    float scale = scales[number], along = 0;
    for (int at = threadIdx.x * 8; at < width; at += 2048) {
      float values[8], weights[8], changes[8];
      load8(x + row + at, values);
      load8(weight + at, weights);
      load8(change + row + at, changes);
      for (int i = 0; i < 8; i++) along += weights[i] * changes[i] * values[i];
    }
    float pull = block_sum(along) * scale * scale * scale / width;
    for (int at = threadIdx.x * 8; at < width; at += 2048) {
      float values[8], weights[8], changes[8], total[8], own[8];
      load8(x + row + at, values);
      load8(weight + at, weights);
      load8(change + row + at, changes);
      load8(sums + at, own);
      if (!fresh) load8(gradient + row + at, total);
      for (int i = 0; i < 8; i++) {
        float step = weights[i] * changes[i] * scale - values[i] * pull;
        total[i] = fresh ? step : total[i] + step;
        own[i] += changes[i] * values[i] * scale;
      }
      store8(gradient + row + at, total);
      if (copy) store8(copy + row + at, total);
      store8(sums + at, own);
    }
  }
}

// Turns pairs (i, i + half) of each head by the angle of the row's position; `sign` -1 turns back. A thread takes one pair.
template <typename T>
__device__ __forceinline__ void rotate_pairs(T* x, const float* cos, const float* sin, float sign, long pairs, int width,
                                             int half, int length) {
  for (long pair = long(blockIdx.x) * 256 + threadIdx.x; pair < pairs; pair += long(gridDim.x) * 256) {
    long row = pair / (width / 2);
    int within = int(pair % (width / 2)), head = within / half, i = within % half;
    long low = row * width + long(head) * 2 * half + i, high = low + half;
    long angle = (row % length) * half + i;
    float a = load1(x + low), b = load1(x + high), c = cos[angle], s = sin[angle] * sign;
    float turned[2] = {a * c - b * s, b * c + a * s};
    if constexpr (sizeof(T) == 2) {
      x[low] = narrowed(turned[0]);
      x[high] = narrowed(turned[1]);
    } else {
      x[low] = turned[0];
      x[high] = turned[1];
    }
  }
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <typename T>
__device__ __forceinline__ void swiglu_all(const T* gate, const T* up, T* out, long count) {
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float gates[8], ups[8];
    load8(gate + at, gates);
    load8(up + at, ups);
    for (int i = 0; i < 8; i++) gates[i] = gates[i] * sigmoid(gates[i]) * ups[i];
    store8(out + at, gates);
  }
}

// In place: `gate` and `up` become their gradients, `change` what came out.
template <typename T>
__device__ __forceinline__ void swiglu_backward_all(T* gate, T* up, T* change, long count) {
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float gates[8], ups[8], changes[8];
    load8(gate + at, gates);
    load8(up + at, ups);
    load8(change + at, changes);
    for (int i = 0; i < 8; i++) {
      float s = sigmoid(gates[i]), silu = gates[i] * s, out = silu * ups[i];
      gates[i] = changes[i] * ups[i] * (s + silu * (1.0f - s));
      ups[i] = changes[i] * silu;
      changes[i] = out;
    }
    store8(gate + at, gates);
    store8(up + at, ups);
    store8(change + at, changes);
  }
}

// A block for each row: its loss, and with a weight the logits become the gradient of the loss times it. The maximum and the sum are
// found in one reading.
template <typename T>
__device__ __forceinline__ void cross_entropy_row(T* logits, const long long* targets, int with_gradient, float weight,
                                                  float* losses, int width) {
  T* row = logits + long(blockIdx.x) * width;
  float largest = -INFINITE, sum = 0;
  for (int at = threadIdx.x * 8; at < width; at += 2048) {
    float values[8], most = largest;
    load8(row + at, values);
    for (int i = 0; i < 8; i++) most = values[i] > most ? values[i] : most;
    if (most > -INFINITE) {
      sum *= expf(largest - most);
      for (int i = 0; i < 8; i++) sum += expf(values[i] - most);
      largest = most;
    }
  }
  float all = block_largest(largest);
  float total = block_sum(largest > -INFINITE ? sum * expf(largest - all) : sum);
  long long target = targets[blockIdx.x];
  bool known = target >= 0 && target < width;
  if (threadIdx.x == 0) losses[blockIdx.x] = logf(total) + (all - (known ? load1(row + target) : NOT_A_NUMBER));
  __syncthreads();
  if (!with_gradient) return;
  float factor = weight / total;
  for (int at = threadIdx.x * 8; at < width; at += 2048) {
    float values[8];
    load8(row + at, values);
    for (int i = 0; i < 8; i++) values[i] = expf(values[i] - all) * factor - (at + i == target ? weight : 0.0f);
    store8(row + at, values);
  }
}

// Sums of columns, added to what is there: `out += sum over rows of partial`, a thread for each column.
extern "C" __global__ void column_sums(const float* partial, float* out, int rows, int width) {
  int column = blockIdx.x * 256 + threadIdx.x;
  if (column >= width) return;
  float sum = 0;
  for (int row = 0; row < rows; row++) sum += partial[long(row) * width + column];
  out[column] += sum;
}

// `sum += part`, of gradients that a product gave in bf16.
extern "C" __global__ void accumulate(float* sum, const bf16* part, long count) {
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float sums[8], parts[8];
    load8(sum + at, sums);
    load8(part + at, parts);
    for (int i = 0; i < 8; i++) sums[i] += parts[i];
    store8(sum + at, sums);
  }
}

// Weights as the products read them.
extern "C" __global__ void to_bf16(const float* from, bf16* to, long count) {
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float values[8];
    load8(from + at, values);
    store8(to + at, values);
  }
}

// Rows of the embedding; of a token that it does not have, what is not a number.
extern "C" __global__ void embed(const float* table, const long long* tokens, float* out, long rows, int width) {
  long long token = tokens[blockIdx.x];
  bool known = token >= 0 && token < rows;
  const float* from = table + (known ? token : 0) * width;
  float* to = out + long(blockIdx.x) * width;
  for (int at = threadIdx.x * 8; at < width; at += 2048) {
    float values[8];
    load8(from + at, values);
    if (!known) for (int i = 0; i < 8; i++) values[i] = NOT_A_NUMBER;
    store8(to + at, values);
  }
}

// Squares of a gradient, summed: a number for each block.
extern "C" __global__ void squares(const float* x, float* partial, long count) {
  float sum = 0;
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float values[8];
    load8(x + at, values);
    for (int i = 0; i < 8; i++) sum += values[i] * values[i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// A step of AdamW on a tensor; `scale` is what gradients are multiplied by, `corrected1` and `corrected2` are 1 - beta^t.
extern "C" __global__ void adamw(float* weight, float* first, float* second, const float* gradient, bf16* copy, long count,
                                 float scale, float rate, float decay, float beta1, float beta2, float epsilon,
                                 float corrected1, float corrected2) {
  float keep = 1.0f - rate * decay, step = rate / corrected1, root = sqrtf(corrected2);
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float w[8], m[8], v[8], g[8];
    load8(weight + at, w);
    load8(first + at, m);
    load8(second + at, v);
    load8(gradient + at, g);
    for (int i = 0; i < 8; i++) {
      float x = g[i] * scale;
      m[i] += (x - m[i]) * (1.0f - beta1);
      v[i] = v[i] * beta2 + x * x * (1.0f - beta2);
      w[i] = w[i] * keep - m[i] / (sqrtf(v[i]) / root + epsilon) * step;
    }
    store8(weight + at, w);
    store8(first + at, m);
    store8(second + at, v);
    if (copy) store8(copy + at, w);
  }
}

// `weight -= step * sign`, for a whole tensor: the product is exact, so there is one rounding, that of the CPU.
extern "C" __global__ void sign_step(float* weight, const signed char* signs, bf16* copy, long count, float step) {
  for (long at = (long(blockIdx.x) * 256 + threadIdx.x) * 8; at < count; at += long(gridDim.x) * 2048) {
    float w[8];
    load8(weight + at, w);
    for (int i = 0; i < 8; i++) w[i] = w[i] - step * float(signs[at + i]);
    store8(weight + at, w);
    if (copy) store8(copy + at, w);
  }
}

#define FOR_EACH_KIND(KIND, T)                                                                                                  \
  extern "C" __global__ void rms_norm_##KIND(const float* x, const T* add, float* sum, const float* weight, float epsilon,      \
                                             T* out, float* scales, int width) {                                                \
    rms_norm_row(x, add, sum, weight, epsilon, out, scales, width);                                                             \
  }                                                                                                                             \
  extern "C" __global__ void rms_norm_again_##KIND(const float* x, const float* scales, const float* weight, T* out,           \
                                                   int width) {                                                                 \
    long row = long(blockIdx.x) * width;                                                                                        \
    scaled_row(x + row, scales[blockIdx.x], weight, out + row, width);                                                          \
  }                                                                                                                             \
  extern "C" __global__ void rms_norm_backward_##KIND(const float* x, const float* scales, const float* weight,                \
                                                      const T* change, float* gradient, int fresh, T* copy, float* partial,    \
                                                      int rows, int width) {                                                    \
    rms_norm_backward_rows(x, scales, weight, change, gradient, fresh, copy, partial, rows, width);                             \
  }                                                                                                                             \
  extern "C" __global__ void rotate_##KIND(T* x, const float* cos, const float* sin, float sign, long pairs, int width,        \
                                           int half, int length) {                                                              \
    rotate_pairs(x, cos, sin, sign, pairs, width, half, length);                                                                \
  }                                                                                                                             \
  extern "C" __global__ void swiglu_##KIND(const T* gate, const T* up, T* out, long count) {                                   \
    swiglu_all(gate, up, out, count);                                                                                           \
  }                                                                                                                             \
  extern "C" __global__ void swiglu_backward_##KIND(T* gate, T* up, T* change, long count) {                                   \
    swiglu_backward_all(gate, up, change, count);                                                                               \
  }                                                                                                                             \
  extern "C" __global__ void cross_entropy_##KIND(T* logits, const long long* targets, int with_gradient, float weight,        \
                                                  float* losses, int width) {                                                   \
    cross_entropy_row(logits, targets, with_gradient, weight, losses, width);                                                   \
  }

FOR_EACH_KIND(f32, float)
FOR_EACH_KIND(bf16, bf16)
