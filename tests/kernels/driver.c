// A driver without a GPU: it answers what it is told to, and keeps what it was asked.

#include <string.h>

static int version = 13000, capability = 90, failing_code;
static const char* failing = "";
static char failing_name[64];
static char launched[64];
static unsigned grid, threads;
static int contexts, number = -1;
static float first_float;

void pretend(int new_version, int new_capability, const char* function, int code) {
  version = new_version, capability = new_capability, failing_code = code;
  strncpy(failing_name, function, sizeof failing_name - 1);
  failing = failing_name;
}

// What the last launch was: name, blocks, threads of a block, what its first argument points to; how often a context was made current.
const char* last_launch(unsigned* blocks, unsigned* each, float* first, int* times) {
  *blocks = grid, *each = threads, *first = first_float, *times = contexts;
  return launched;
}

static int answer(const char* function) { return strcmp(function, failing) == 0 ? failing_code : 0; }

int cuInit(unsigned flags) { return flags == 0 ? answer("cuInit") : 1; }

int cuDriverGetVersion(int* out) {
  *out = version;
  return answer("cuDriverGetVersion");
}

int cuDeviceGet(int* device, int wanted) {
  if (wanted > 1) return 101;
  number = *device = wanted;
  return answer("cuDeviceGet");
}

int cuDeviceGetAttribute(int* out, int attribute, int device) {
  if (device != number) return 101;
  if (attribute == 75) *out = capability / 10;
  else if (attribute == 76) *out = capability % 10;
  else return 1;
  return answer("cuDeviceGetAttribute");
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = &contexts;
  return device == number ? answer("cuDevicePrimaryCtxRetain") : 101;
}

int cuCtxSetCurrent(void* context) {
  contexts++;
  return context == &contexts ? answer("cuCtxSetCurrent") : 201;
}

int cuModuleLoadData(void** module, const void* image) {
  *module = &version;
  return memcmp(image, "\x7f" "ELF", 4) == 0 ? answer("cuModuleLoadData") : 200;
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
  static char names[64][64];
  static int known;
  if (module != &version || known == 64) return 500;
  *function = strncpy(names[known++], name, 63);
  return answer("cuModuleGetFunction");
}

int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared,
                   void* stream, void** arguments, void** extra) {
  if (y != 1 || z != 1 || ty != 1 || tz != 1 || shared != 0 || stream || extra) return 1;
  strncpy(launched, function, sizeof launched - 1);
  grid = x, threads = tx;
  // Spans come first: where the numbers are, here in this process.
  first_float = **(float**)arguments[0];
  return answer("cuLaunchKernel");
}

int cuGetErrorName(int code, const char** name) {
  *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 101 ? "CUDA_ERROR_INVALID_DEVICE" : code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : 0;
  return *name ? 0 : 1;
}

// NVRTC asks for more than the header has, where there is a driver; this one has nothing to give.
int cuGetExportTable(const void** table, const void* id) {
  *table = 0;
  return id ? 500 : 1;
}
