// A CUDA driver without a GPU, for the tests: device memory is host memory, work runs at once,
// captured work is kept and run at launch. Built as libcuda.so.1, it lets the real Python
// bindings run, so that what they are given is checked by them and arrives here.
//
//     gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o libcuda.so.1 fake_libcuda.c
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201, INVALID_HANDLE = 400, ILLEGAL_STATE = 401, NOT_FOUND = 500,
  NOT_READY = 600, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900
};

typedef struct Work {
  int kind;  // 0 copy, 1 fill
  void *target; const void *source; size_t nbytes;
  int count; float value; int64_t offset;
  struct Work *next;
} Work;
typedef struct { int magic; Work *first, *last; int capturing; } Stream;
typedef struct { int magic; double at_ms; int timing; } Event;
enum { STREAM = 0x5757, EVENT = 0xE7E7 };

static const size_t TOTAL = 64u << 20;
static size_t used;
static double now_ms;
static int retained, capturing;
static __thread void *current;
static int context;

#define NEED_CONTEXT if (!current) return INVALID_CONTEXT
#define NOT_IN_CAPTURE if (capturing) return CAPTURE_UNSUPPORTED

static void run(const Work *work) {
  now_ms += 0.001;
  if (work->kind == 0) memcpy(work->target, work->source, work->nbytes);
  else for (int i = 0; i < work->count; ++i)
    ((uint8_t *)work->target)[work->offset + i] = (uint8_t)(work->value * 2);
}

static int give(Stream *stream, Work work) {
  NEED_CONTEXT;
  if (!stream || stream->magic != STREAM) return INVALID_HANDLE;
  if (!stream->capturing) { run(&work); return OK; }
  Work *kept = malloc(sizeof *kept);
  *kept = work; kept->next = NULL;
  if (stream->last) stream->last->next = kept; else stream->first = kept;
  stream->last = kept;
  return OK;
}

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int *version) {
  const char *given = getenv("FAKE_CUDA_VERSION");
  *version = given ? atoi(given) : 13000;
  return OK;
}
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int index) { *device = index; return index ? INVALID_DEVICE : OK; }
int cuDeviceGetName(char *name, int length, int device) {
  (void)device; snprintf(name, length, "Fake GPU"); return OK;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
  (void)device; *value = which == 75 ? 8 : which == 76 ? 9 : 0; return OK;
}
int cuDeviceComputeCapability(int *major, int *minor, int device) {
  (void)device; *major = 8; *minor = 9; return OK;
}
int cuDeviceTotalMem(size_t *bytes, int device) { (void)device; *bytes = TOTAL; return OK; }
int cuDevicePrimaryCtxRetain(void **result, int device) {
  (void)device; ++retained; *result = &context; return OK;
}
int cuDevicePrimaryCtxRelease(int device) {
  (void)device; return --retained < 0 ? INVALID_CONTEXT : OK;
}
int cuCtxSetCurrent(void *given) { current = given; return OK; }
int cuCtxGetCurrent(void **result) { *result = current; return OK; }
static __thread void *stack[64];
static __thread int depth;
int cuCtxPushCurrent(void *given) {
  if (depth == 64) return INVALID_VALUE;
  stack[depth++] = current; current = given; return OK;
}
int cuCtxPopCurrent(void **popped) {
  if (!depth) return INVALID_CONTEXT;
  *popped = current; current = stack[--depth]; return OK;
}
int cuCtxGetDevice(int *device) { *device = 0; return OK; }

int cuMemGetInfo(size_t *free_bytes, size_t *total) {
  NEED_CONTEXT; *free_bytes = TOTAL - used; *total = TOTAL; return OK;
}
static int allocate(void **result, size_t nbytes, int device) {
  NEED_CONTEXT; NOT_IN_CAPTURE;
  if (!nbytes) return INVALID_VALUE;
  if (device && nbytes > TOTAL - used) return OUT_OF_MEMORY;
  char *block = aligned_alloc(256, (nbytes + 511) / 256 * 256);
  *(size_t *)block = device ? nbytes : 0;
  if (device) used += nbytes;
  *result = block + 256;
  return OK;
}
static int release(void *pointer) {
  NEED_CONTEXT; NOT_IN_CAPTURE;
  used -= *(size_t *)((char *)pointer - 256);
  free((char *)pointer - 256);
  return OK;
}
int cuMemAlloc(void **result, size_t nbytes) { return allocate(result, nbytes, 1); }
int cuMemFree(void *pointer) { return release(pointer); }
int cuMemHostAlloc(void **result, size_t nbytes, unsigned flags) {
  return flags ? INVALID_VALUE : allocate(result, nbytes, 0);
}
int cuMemAllocHost(void **result, size_t nbytes) { return allocate(result, nbytes, 0); }
int cuMemFreeHost(void *pointer) { return release(pointer); }
int cuMemcpyHtoDAsync(void *target, const void *source, size_t nbytes, Stream *stream) {
  return give(stream, (Work){.target = target, .source = source, .nbytes = nbytes});
}
int cuMemcpyDtoHAsync(void *target, const void *source, size_t nbytes, Stream *stream) {
  return give(stream, (Work){.target = target, .source = source, .nbytes = nbytes});
}

int cuStreamCreate(Stream **result, unsigned flags) {
  NEED_CONTEXT;
  if (flags != 1) return INVALID_VALUE;
  *result = calloc(1, sizeof **result);
  (*result)->magic = STREAM;
  return OK;
}
static int known(const Stream *stream) { return stream && stream->magic == STREAM; }
int cuStreamDestroy(Stream *stream) {
  if (!known(stream)) return INVALID_HANDLE;
  stream->magic = 0;
  return OK;
}
int cuStreamSynchronize(Stream *stream) {
  NEED_CONTEXT; NOT_IN_CAPTURE;
  return known(stream) ? OK : INVALID_HANDLE;
}
int cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
  NEED_CONTEXT;
  return known(stream) && event->magic == EVENT && !flags ? OK : INVALID_HANDLE;
}
int cuEventCreate(Event **result, unsigned flags) {
  NEED_CONTEXT;
  if (flags != 0 && flags != 2) return INVALID_VALUE;
  *result = malloc(sizeof **result);
  **result = (Event){EVENT, -1, flags == 0};
  return OK;
}
int cuEventDestroy(Event *event) { event->magic = 0; return OK; }
int cuEventRecord(Event *event, Stream *stream) {
  NEED_CONTEXT;
  if (event->magic != EVENT || !known(stream)) return INVALID_HANDLE;
  event->at_ms = now_ms;
  return OK;
}
int cuEventSynchronize(Event *event) {
  NEED_CONTEXT; NOT_IN_CAPTURE;
  return event->magic == EVENT ? OK : INVALID_HANDLE;
}
int cuEventElapsedTime(float *ms, Event *start, Event *end) {
  if (!start->timing || !end->timing) return INVALID_HANDLE;
  if (start->at_ms < 0 || end->at_ms < 0) return NOT_READY;
  *ms = (float)(end->at_ms - start->at_ms);
  return OK;
}

static int module, fill;
int cuModuleLoadData(void **result, const char *image) {
  NEED_CONTEXT; NOT_IN_CAPTURE;
  *result = &module;
  return strcmp(image, "// fill") ? INVALID_IMAGE : OK;
}
int cuModuleLoadDataEx(void **result, const char *image, unsigned n, void *options, void **values) {
  (void)options;
  // The sizes of the two logs: empty.
  for (unsigned i = 1; i < n && i < 4; i += 2) values[i] = 0;
  return cuModuleLoadData(result, image);
}
int cuModuleUnload(void *given) { return given == &module ? OK : INVALID_HANDLE; }
int cuModuleGetFunction(void **result, void *given, const char *name) {
  *result = &fill;
  return given != &module ? INVALID_HANDLE : strcmp(name, "fill") ? NOT_FOUND : OK;
}
int cuFuncGetAttribute(int *value, int which, void *function) {
  (void)which; (void)function; *value = 0; return OK;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, Stream *stream, void **params, void **extra) {
  if (function != &fill) return INVALID_HANDLE;
  if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || shared) return INVALID_VALUE;
  void *of_buffer[4];
  if (!params) {
    // The other way to pass them: one buffer laid out as a struct.
    char *buffer = extra[0] == (void *)1 ? extra[1] : extra[3];
    for (int i = 0; i < 4; ++i) of_buffer[i] = buffer + (int[]){0, 8, 12, 16}[i];
    params = of_buffer;
  }
  Work work = {.kind = 1, .target = *(void **)params[0], .count = *(int *)params[1],
               .value = *(float *)params[2], .offset = *(int64_t *)params[3]};
  return give(stream, work);
}

int cuStreamBeginCapture(Stream *stream, int mode) {
  NEED_CONTEXT;
  if (!known(stream) || mode != 1) return INVALID_VALUE;
  if (capturing) return ILLEGAL_STATE;
  stream->capturing = capturing = 1;
  stream->first = stream->last = NULL;
  return OK;
}
int cuStreamEndCapture(Stream *stream, Work **graph) {
  if (!known(stream) || !stream->capturing) return ILLEGAL_STATE;
  stream->capturing = capturing = 0;
  *graph = malloc(sizeof **graph);
  (*graph)->next = stream->first;
  return OK;
}
int cuGraphInstantiate(Work **executable, Work *graph, unsigned long long flags) {
  if (flags) return INVALID_VALUE;
  *executable = malloc(sizeof **executable);
  **executable = *graph;
  return OK;
}
int cuGraphDestroy(Work *graph) { free(graph); return OK; }
int cuGraphExecDestroy(Work *executable) { free(executable); return OK; }
int cuGraphLaunch(Work *executable, Stream *stream) {
  NEED_CONTEXT;
  if (!known(stream)) return INVALID_HANDLE;
  for (const Work *work = executable->next; work; work = work->next) run(work);
  return OK;
}

int cuGetErrorString(int code, const char **text) {
  switch (code) {
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case INVALID_VALUE: *text = "invalid argument"; break;
    case INVALID_IMAGE: *text = "device kernel image is invalid"; break;
    case INVALID_CONTEXT: *text = "invalid device context"; break;
    case INVALID_HANDLE: *text = "invalid resource handle"; break;
    case NOT_FOUND: *text = "named symbol not found"; break;
    case CAPTURE_UNSUPPORTED: *text = "operation not permitted when stream is capturing"; break;
    case NOT_READY: *text = "device not ready"; break;
    default: *text = "unknown error";
  }
  return OK;
}

int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags, int *status) {
  (void)version; (void)flags;
  static void *self;
  if (!self) {
    Dl_info info;
    dladdr((void *)&cuInit, &info);
    self = dlopen(info.dli_fname, RTLD_LAZY);
  }
  // Newer versions of a function carry a longer name.
  *function = dlsym(self, strcmp(name, "cuGraphInstantiateWithFlags") ? name : "cuGraphInstantiate");
  if (status) *status = *function ? 0 : 1;
  return *function ? OK : NOT_FOUND;
}
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
  return cuGetProcAddress(name, function, version, flags, status);
}
