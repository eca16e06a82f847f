// The codec on a GPU: what src/codec does, a block of 256 threads for each chunk.
//
// Which coefficients a miner sends is its own affair, and the last bits of a transform may differ from the processor's. The aggregate may
// not: it is in whole numbers, and its few float64 operations are single ones, each rounded by itself, so that everybody has the same bits.

typedef unsigned long long u64;
typedef unsigned short u16;
typedef unsigned char u8;

// The sum over the threads before this one.
__device__ __forceinline__ unsigned block_before(unsigned x) {
  __shared__ unsigned sums[256];
  sums[threadIdx.x] = x;
  __syncthreads();
  for (int step = 1; step < 256; step *= 2) {
    unsigned other = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
    __syncthreads();
    sums[threadIdx.x] += other;
    __syncthreads();
  }
  unsigned before = sums[threadIdx.x] - x;
  __syncthreads();
  return before;
}

// Where a coefficient lies in shared memory: a thread's sixteen neighbours are in other banks than the next thread's.
__device__ __forceinline__ int bank(int position) { return position + position / 32; }

// A bfloat16 as a number, and the nearest one to a number that is not negative, of two equally near ones the larger.
__device__ __forceinline__ float level_value(u16 level) { return __uint_as_float(unsigned(level) << 16); }
__device__ __forceinline__ u16 level_code(float level) { return u16((__float_as_uint(level) + 0x8000u) >> 16); }

__device__ __forceinline__ float tree(float* lanes) {
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] = __fadd_rn(lanes[i], lanes[i + half]);
  return lanes[0];
}

// `C <- beta C + T(G)` for a chunk, and the choice of what is sent of it. `down` and `along` are the bases of a chunk's sides,
// `[sample][frequency]`; without a transform they are not read, and `rows` is 1. Values of one or two bits are coded and taken off at
// once; those of eight wait in `values` for `take_off`, and `most` gets the largest magnitude of the tensor, as bits.
extern "C" __global__ void encode_chunks(const float* gradient, float* state, const float* down, const float* along, int rows,
                                         int cols, int width, float beta, int kept, int per_chunk, u16* positions, float* values,
                                         u16* levels, u8* codes, unsigned* most) {
  __shared__ float c[4224], between[4224];
  __shared__ float lanes[2][16];
  __shared__ float mean_of[3];
  int t = threadIdx.x, length = rows * cols;
  long chunk = blockIdx.x;
  float* own = state + chunk * length;
  if (!down) {
    for (int p = t; p < length; p += 256) c[bank(p)] = __fadd_rn(__fmul_rn(own[p], beta), gradient[chunk * length + p]);
  } else {
    int across = width / cols;
    const float* from = gradient + (chunk / across) * rows * long(width) + (chunk % across) * cols;
    if (rows == 64 && cols == 64) {
      // Each thread has 4 x 4 results of both passes.
      int high = t / 16 * 4, low = t % 16;
      for (int i = t; i < 4096; i += 256) c[i / 64 * 65 + i % 64] = from[long(i / 64) * width + i % 64];
      __syncthreads();
      float sums[4][4];
      for (int a = 0; a < 4; a++) for (int b = 0; b < 4; b++) sums[a][b] = 0;
      for (int n = 0; n < 64; n++)
        for (int a = 0; a < 4; a++) {
          float factor = down[n * 64 + high + a];
          for (int b = 0; b < 4; b++) sums[a][b] += factor * c[n * 65 + low + 16 * b];
        }
      for (int a = 0; a < 4; a++) for (int b = 0; b < 4; b++) between[(high + a) * 65 + low + 16 * b] = sums[a][b];
      __syncthreads();
      for (int a = 0; a < 4; a++) for (int b = 0; b < 4; b++) sums[a][b] = 0;
      for (int n = 0; n < 64; n++)
        for (int a = 0; a < 4; a++) {
          float factor = along[n * 64 + high + a];
          for (int b = 0; b < 4; b++) sums[a][b] += factor * between[(low + 16 * b) * 65 + n];
        }
      for (int a = 0; a < 4; a++)
        for (int b = 0; b < 4; b++) {
          int p = (high + a) * 64 + low + 16 * b;
          c[bank(p)] = own[p] * beta + sums[a][b];
        }
    } else {
      for (int i = t; i < length; i += 256) {
        int u = i / cols, x = i % cols;
        float sum = 0;
        for (int n = 0; n < rows; n++) sum += down[n * rows + u] * from[long(n) * width + x];
        between[i] = sum;
      }
      __syncthreads();
      for (int p = t; p < length; p += 256) {
        int v = p / rows, u = p % rows;
        float sum = 0;
        for (int n = 0; n < cols; n++) sum += along[n * cols + v] * between[u * cols + n];
        c[bank(p)] = own[p] * beta + sum;
      }
    }
  }
  __syncthreads();
  unsigned key[16];
  for (int i = 0; i < 16; i++) {
    int p = t * 16 + i;
    key[i] = p < length ? __float_as_uint(c[bank(p)]) & 0x7fffffffu : 0;
  }
  // The kept-th largest magnitude, bit by bit. A chunk that is shorter than 4096 has zeros behind it, which are chosen last, because
  // they are.
  unsigned threshold = 0;
  for (int bit = 30; bit >= 0; bit--) {
    unsigned candidate = threshold | 1u << bit, count = 0;
    for (int i = 0; i < 16; i++) count += key[i] >= candidate;
    count = block_sum(count);
    if (count >= unsigned(kept)) threshold = candidate;
    if (count == unsigned(kept)) break;
  }
  unsigned above = 0, equal = 0, largest = 0;
  for (int i = 0; i < 16; i++) {
    above += key[i] > threshold;
    equal += key[i] == threshold && t * 16 + i < length;
    largest = key[i] > largest ? key[i] : largest;
  }
  // Of equal ones the first, as far as there is room.
  unsigned room = unsigned(kept) - block_sum(above);
  unsigned before = block_before(above), ties = block_before(equal);
  u16* chosen = (u16*)between;
  for (int i = 0; i < 16; i++) {
    int p = t * 16 + i;
    if (p >= length) break;
    bool tie = key[i] == threshold;
    if (key[i] > threshold || (tie && ties < room)) chosen[before + (ties < room ? ties : room)] = u16(p);
    before += key[i] > threshold;
    ties += tie;
  }
  largest = block_largest(largest);
  if (t == 0) atomicMax(most, largest);
  for (int p = t; p < length; p += 256) own[p] = c[bank(p)];
  long first = chunk * kept;
  for (int i = t; i < kept; i += 256) {
    positions[first + i] = chosen[i];
    if (!per_chunk) values[first + i] = c[bank(chosen[i])];
  }
  __syncthreads();
  if (!per_chunk) return;
  // Sums in sixteen lanes, as the processor takes them.
  if (t < 16) {
    float sum = 0;
    for (int i = t; i < kept; i += 16) sum = __fadd_rn(sum, fabsf(c[bank(chosen[i])]));
    lanes[0][t] = sum;
  }
  __syncthreads();
  if (t == 0) {
    mean_of[2] = tree(lanes[0]);
    mean_of[0] = mean_of[2] / float(kept);
  }
  __syncthreads();
  float mean = mean_of[0], total = mean_of[2];
  unsigned upper = 0;
  if (per_chunk == 2) {
    for (int i = t; i < kept; i += 256) upper += fabsf(c[bank(chosen[i])]) >= mean;
    upper = block_sum(upper);
    if (t < 16) {
      float sum = 0;
      for (int i = t; i < kept; i += 16) {
        float magnitude = fabsf(c[bank(chosen[i])]);
        sum = __fadd_rn(sum, magnitude >= mean ? magnitude : 0.0f);
      }
      lanes[1][t] = sum;
    }
    __syncthreads();
  }
  if (t == 0) {
    u16 low, high = 0;
    if (per_chunk == 2) {
      float sum = tree(lanes[1]);
      unsigned below = unsigned(kept) - upper;
      high = level_code(sum / float(upper > 0 ? upper : 1u));
      low = level_code(fmaxf(__fsub_rn(total, sum), 0.0f) / float(below > 0 ? below : 1u));
      levels[chunk * 2 + 1] = high;
      levels[chunk * 2] = low;
    } else {
      low = level_code(mean);
      levels[chunk] = low;
    }
    mean_of[0] = level_value(low);
    mean_of[1] = level_value(high);
  }
  __syncthreads();
  for (int i = t; i < kept; i += 256) {
    float value = c[bank(chosen[i])];
    unsigned sign = __float_as_uint(value) & 0x80000000u;
    bool is_upper = per_chunk == 2 && fabsf(value) >= mean;
    float level = mean_of[is_upper];
    codes[first + i] = u8(sign >> 24 | (is_upper ? 2u : 1u));
    own[chosen[i]] = __fsub_rn(value, __uint_as_float(__float_as_uint(level) | sign));
  }
}

// The exponent that a tensor shares, from the bits of its largest magnitude (`eight_bit::shared_exponent`).
__device__ __forceinline__ int shared_exponent(unsigned most) {
  int exponent = int(most >> 23) - 127 - 17 + int((most & 0x007fffffu) >= 0x00780000u);
  exponent = exponent < -100 ? -100 : exponent;
  return exponent > 100 ? 100 : exponent;
}
__device__ __forceinline__ float power_of_two(int exponent) { return __uint_as_float(unsigned(exponent + 127) << 23); }

// Codes values in 8 bits and leaves in the state what the codes do not say, a thread for each.
extern "C" __global__ void take_off(float* state, const u16* positions, const float* values, u8* codes, const unsigned* most,
                                    signed char* exponents, long count, int kept, int length) {
  int exponent = shared_exponent(*most);
  if (blockIdx.x == 0 && threadIdx.x == 0) *exponents = (signed char)exponent;
  float step = power_of_two(exponent), per_step = power_of_two(-exponent);
  int base = (exponent + 129) << 3;
  for (long i = long(blockIdx.x) * 256 + threadIdx.x; i < count; i += long(gridDim.x) * 256) {
    float value = values[i];
    unsigned sign = __float_as_uint(value) & 0x80000000u, bits = __float_as_uint(value) & 0x7fffffffu;
    unsigned rounded = (bits + 0x0007ffffu + (bits >> 20 & 1u)) >> 20;
    int large = int(rounded) - base;
    float steps = __fadd_rn(__fmul_rn(__uint_as_float(bits), per_step), 8388608.0f);
    int small = int(__float_as_uint(steps) & 0xffu);
    bool is_small = large < 8;
    int magnitude = is_small ? small : (large < 0x7f ? large : 0x7f);
    unsigned limit = rounded < (255u << 3) ? rounded : 255u << 3;
    float decoded = is_small ? __fmul_rn(float(small), step) : __uint_as_float(limit << 20);
    codes[i] = magnitude == 0 ? 0 : u8(sign >> 24 | unsigned(magnitude));
    state[i / kept * length + positions[i]] = __fsub_rn(value, __uint_as_float(__float_as_uint(decoded) | sign));
  }
}

// How far sums, the largest of them `most`, are shifted to have 13 bits after rounding.
__device__ __forceinline__ int shift_of(unsigned most) {
  int bits = 32 - __clz(int(most)), shift = bits > 13 ? bits - 13 : 0;
  u64 rounded = (u64(most) + ((1u << shift) >> 1)) >> shift;
  return shift + (rounded > 8191);
}

// One chunk of the aggregate of some peers, and the step of it. `positions` and `codes` hold each peer's values of the tensor after the
// other's, `levels` their levels. A value is its level times the peer's factor, cut to a whole number, or, with 8 bits, what the peer's
// table has for its code. With a transform (`down` and `along`: whole bases, `[frequency][sample]`) and `by_sign`, values count their
// senders in their last 9 bits. `update` of a place is the sign of its number, or the number times its unit:
// `parameters = before - size * update`, and `signs` or `floats` get it where they are not null.
extern "C" __global__ void aggregate_chunks(const u16* positions, const u8* codes, const u16* levels, const double* factors,
                                            const long long* tables, int peers, long values_each, long levels_each, int kept,
                                            int per_chunk, const short* down, const short* along, int rows, int cols, int width,
                                            int by_sign, double unit, double plain_unit, signed char* signs, float* floats,
                                            const float* before, float* parameters, bf16* copy, float size) {
  __shared__ u64 room[4096];
  int t = threadIdx.x, length = rows * cols;
  long chunk = blockIdx.x;
  bool counts = down && by_sign;
  for (int p = t; p < 4096; p += 256) room[p] = 0;
  __syncthreads();
  for (int i = t; i < peers * kept; i += 256) {
    int peer = i / kept, within = i % kept;
    long at = peer * values_each + chunk * kept + within;
    u8 code = codes[at];
    long long number;
    if (tables) {
      number = tables[peer * 256 + code];
    } else {
      float level = level_value(levels[peer * levels_each + chunk * per_chunk + (code & 2 ? 1 : 0)]);
      long long value = (long long)__dmul_rn(double(code & 0x80 ? -level : level), factors[peer]);
      number = counts ? value * 512 + (value != 0) : value;
    }
    if (number) atomicAdd(&room[positions[at] % 4096], u64(number));
  }
  __syncthreads();
  long long mean[16];
  u64 most = 0;
  for (int i = 0; i < 16; i++) {
    long long sum = (long long)room[t + 256 * i];
    if (counts && sum) sum = (long long)__ddiv_rn(double(sum >> 9), double(sum & 511));
    mean[i] = sum;
    u64 magnitude = sum < 0 ? u64(0) - u64(sum) : u64(sum);
    most = magnitude > most ? magnitude : most;
  }
  int across = width / cols;
  long corner = down ? (chunk / across) * rows * long(width) + (chunk % across) * cols : chunk * length;
  int* whole = (int*)room;
  long long* wide = (long long*)room;
  float scale = float(unit);
  bool large = rows == 64 && cols == 64;
  if (!down) {
    // A sum is a whole number of 32 bits where it becomes a float.
    for (int i = 0; i < 16; i++) wide[t + 256 * i] = by_sign ? mean[i] : (long long)(int)mean[i];
    __syncthreads();
  } else {
    most = block_largest(most);
    int shift = 64 - __clzll((long long)most) - 13;
    int right = shift > 0 ? shift : 0, left = shift < 0 ? -shift : 0;
    u64 half = shift > 0 ? u64(1) << (shift - 1) : 0;
    // Of at most 13 bits and a sign: in the last quarter of the room.
    short* coefficients = (short*)room + 3 * 4096;
    __syncthreads();
    for (int i = 0; i < 16; i++) {
      u64 magnitude = ((mean[i] < 0 ? u64(0) - u64(mean[i]) : u64(mean[i])) + half) >> right << left;
      int limited = magnitude < 8191 ? int(magnitude) : 8191;
      coefficients[t + 256 * i] = short(mean[i] < 0 ? -limited : limited);
    }
    __syncthreads();
    double power = shift >= 0 ? double(u64(1) << shift) : __ddiv_rn(1.0, double(u64(1) << -shift));
    if (large) {
      // Along the columns: a warp has a frequency along the row, its threads two places each. Sums of 32 bits that wrap on the way are
      // right in the end.
      int lane = t % 32;
      unsigned largest = 0;
      for (int v = t / 32; v < 64; v += 8) {
        unsigned low = 0, high = 0;
        for (int u = 0; u < 64; u++) {
          int x = coefficients[v * 64 + u];
          if (x == 0) continue;
          low += unsigned(x * int(down[u * 64 + lane]));
          high += unsigned(x * int(down[u * 64 + lane + 32]));
        }
        whole[v * 64 + lane] = int(low);
        whole[v * 64 + lane + 32] = int(high);
        low = int(low) < 0 ? 0u - low : low;
        high = int(high) < 0 ? 0u - high : high;
        largest = low > largest ? low : largest;
        largest = high > largest ? high : largest;
      }
      largest = block_largest(largest);
      int second = shift_of(largest);
      int half_step = int((1u << second) >> 1);
      int sums[16];
      for (int i = 0; i < 16; i++) sums[i] = (whole[t + 256 * i] + half_step) >> second;
      __syncthreads();
      short* rounded = (short*)room + 3 * 4096;
      for (int i = 0; i < 16; i++) rounded[t + 256 * i] = short(sums[i]);
      __syncthreads();
      for (int y = t / 32; y < 64; y += 8) {
        unsigned low = 0, high = 0;
        for (int v = 0; v < 64; v++) {
          int x = rounded[v * 64 + y];
          if (x == 0) continue;
          low += unsigned(x * int(along[v * 64 + lane]));
          high += unsigned(x * int(along[v * 64 + lane + 32]));
        }
        whole[y * 64 + lane] = int(low);
        whole[y * 64 + lane + 32] = int(high);
      }
      scale = float(__ddiv_rn(__dmul_rn(__dmul_rn(unit, power), double(1u << second)), 32760.0 * 32760.0));
    } else {
      // A chunk of other sides: sums of 64 bits, exact. Coefficients move out of their way.
      short own[16];
      for (int i = 0; i < 16; i++) own[i] = coefficients[t + 256 * i];
      __syncthreads();
      __shared__ short small[4096];
      for (int i = 0; i < 16; i++) small[t + 256 * i] = own[i];
      __syncthreads();
      for (int i = t; i < length; i += 256) {
        int y = i / cols, v = i % cols;
        long long sum = 0;
        for (int u = 0; u < rows; u++) sum += (long long)small[v * rows + u] * down[u * rows + y];
        wide[i] = sum;
      }
      __syncthreads();
      long long sums[16];
      for (int i = 0; i < 16; i++) {
        int at = t + 256 * i, y = at / cols, x = at % cols;
        sums[i] = 0;
        if (at >= length) continue;
        for (int v = 0; v < cols; v++) sums[i] += wide[y * cols + v] * along[v * cols + x];
      }
      __syncthreads();
      for (int i = 0; i < 16; i++) wide[t + 256 * i] = sums[i];
      scale = float(__ddiv_rn(__dmul_rn(unit, power), plain_unit));
    }
    __syncthreads();
  }
  for (int i = t; i < length; i += 256) {
    long at = down ? corner + long(i / cols) * width + i % cols : corner + i;
    long long number = down && large ? (long long)whole[i] : wide[i];
    float update = by_sign ? float((number > 0) - (number < 0)) : __fmul_rn(float(number), scale);
    if (signs) signs[at] = (signed char)update;
    if (floats) floats[at] = update;
    if (parameters) {
      float stepped = __fsub_rn(before[at], __fmul_rn(update, size));
      parameters[at] = stepped;
      if (copy) copy[at] = narrowed(stepped);
    }
  }
}

// SplitMix64's output function (Steele, Lea and Flood, 2014).
__device__ __forceinline__ u64 mixed(u64 z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

// The sketch of a tensor (`codec::sketch`): 64 sums of its values with signs that the seed draws. A thread has one bucket, four of them
// the same in a block; `partial` gets 64 sums a block.
extern "C" __global__ void sketch(const float* x, double* partial, long count, u64 seed) {
  __shared__ double quarters[256];
  int bucket = threadIdx.x % 64;
  double sum = 0;
  for (long row = long(blockIdx.x) * 4 + threadIdx.x / 64; row * 64 + bucket < count; row += long(gridDim.x) * 4) {
    u64 signs = mixed(seed + u64(row + 1) * 0x9e3779b97f4a7c15ull);
    unsigned turn = unsigned(signs >> bucket & 1) << 31;
    sum += double(__uint_as_float(__float_as_uint(x[row * 64 + bucket]) ^ turn));
  }
  quarters[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x < 64)
    partial[long(blockIdx.x) * 64 + bucket] =
        quarters[bucket] + quarters[bucket + 64] + quarters[bucket + 128] + quarters[bucket + 192];
}
