// The two ends of a network that runs without TensorRT: frames in, labels out, FP16 in between.
//
// A translation unit of its own, after lanes.cuh and layouts.cuh: engines do not need it.

#ifdef __CUDA_ARCH__
DEVICE Word fp16_of(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
DEVICE float number_of_fp16(Word bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<unsigned short>(bits)));
    return value;
}
DEVICE float power(float base, float exponent) { return powf(base, exponent); }
#else
// Rounds to nearest, ties to even. For what this unit converts: finite, not negative.
static inline Word fp16_of(float value) {
    unsigned int bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    const int exponent = static_cast<int>(bits >> 23) - 127 + 15;
    const unsigned int mantissa = (bits & 0x7FFFFF) | 0x800000;
    if (exponent >= 31) return 0x7C00;
    const int shift = exponent > 0 ? 13 : 14 - exponent; // below 2^-14 the steps stay equal
    if (shift > 25) return 0;
    const unsigned int kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1);
    const unsigned int half = 1u << (shift - 1);
    const unsigned int up = rest > half || (rest == half && (kept & 1)) ? 1 : 0;
    // The implicit bit of `kept` counts one exponent up, and so does a carry out of the mantissa.
    return (exponent > 0 ? static_cast<unsigned int>(exponent - 1) << 10 : 0) + kept + up;
}
static inline float number_of_fp16(Word bits) {
    const int exponent = (bits >> 10) & 31;
    const unsigned int mantissa = bits & 0x3FF;
    float value;
    if (exponent == 31) {
        const unsigned int wide = 0x7F800000u | (mantissa << 13);
        __builtin_memcpy(&value, &wide, sizeof value);
    } else {
        value = static_cast<float>(exponent ? mantissa | 0x400 : mantissa);
        value = __builtin_ldexpf(value, (exponent ? exponent : 1) - 25);
    }
    return bits & 0x8000 ? -value : value;
}
static inline float power(float base, float exponent) { return __builtin_powf(base, exponent); }
#endif

// Frames, [pixels][3] of bytes, to [pixels][8] of fp16, channels 3 to 7 zero: v * scale, or, where
// `beta` is not 0, v * scale / (k + alpha * sum of the pixel's squares) ** beta.
//
// One thread has one pixel: three neighbouring bytes in, 16 bytes out in one access.
extern "C" __global__ void roadseg_frame_fp16(const Byte *__restrict__ frames, long long pixels,
                                              float scale, float k, float alpha, float beta,
                                              Byte *__restrict__ out) {
    const Count count = static_cast<Count>(pixels);
    for (Count pixel = first_piece(); pixel < count; pixel += piece_stride()) {
        const Byte *from = frames + 3 * pixel;
        float b = from[0], g = from[1], r = from[2];
        float factor = scale;
        if (beta != 0.0f) factor *= power(k + alpha * (b * b + g * g + r * r), -beta);
        b *= factor, g *= factor, r *= factor;
        const Word words[4] = {fp16_of(b) | fp16_of(g) << 16, fp16_of(r), 0, 0};
        Access<16>::store(out + 16 * pixel, words);
    }
}

// Class scores, [images][h][w][pitch] of fp16, to labels, [images][out_h][out_w] of bytes: the class
// of the highest score, of equal ones the first, of NaN the first NaN, as PyTorch has it.
//
// Each position holds the scores of block x block pixels, row by row, `classes` for each; the pitch
// is a multiple of 8. Pixels beyond out_h and out_w are cut off. One thread has one position and
// reads its scores once, 16 bytes at a time.
extern "C" __global__ void roadseg_labels_fp16(const Byte *__restrict__ scores, int images, int h,
                                               int w, int pitch, int classes, int block, int out_h,
                                               int out_w, Byte *__restrict__ labels) {
    const Count positions = static_cast<Count>(images) * h * w;
    const int wanted = block * block * classes;
    for (Count piece = first_piece(); piece < positions; piece += piece_stride()) {
        const Count line = divide(piece, w), column = piece - line * w;
        const Count image = divide(line, h), row = line - image * h;
        const Byte *from = scores + piece * pitch * 2;
        float best = 0;
        int id = 0, label = 0, square = 0;
        for (int first = 0; first < wanted; first += 8) {
            Word words[4];
            Access<16>::load(from + 2 * first, words);
#pragma unroll
            for (int lane = 0; lane < 8; ++lane) {
                if (first + lane >= wanted) break;
                const float score = number_of_fp16((words[lane / 2] >> (16 * (lane % 2))) & 0xFFFF);
                if (id == 0 || score > best || (score != score && best == best)) {
                    best = score;
                    label = id;
                }
                if (++id < classes) continue;
                const Count y = row * block + square / block, x = column * block + square % block;
                if (y < static_cast<Count>(out_h) && x < static_cast<Count>(out_w)) {
                    labels[(image * out_h + y) * out_w + x] = static_cast<Byte>(label);
                }
                id = 0;
                ++square;
            }
        }
    }
}
