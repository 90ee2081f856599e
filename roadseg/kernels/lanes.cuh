// Arithmetic on the packed lanes of a 32-bit register: one fp32, two fp16 or four int8.
//
// Pooling compares and selects, unpooling selects: nothing is ever computed with a value, so values
// stay the bit patterns that they are, and a -0, a denormal or the payload of a NaN comes through.
// Three functions have an instruction of their own on the GPU; beside each stands its definition in
// plain C++, which is what runs where there is no GPU.

#define DEVICE static __device__ __forceinline__

typedef unsigned int Word;        // packed lanes
typedef unsigned char Byte;       // memory, and the index map
typedef unsigned long long Count; // elements, bytes, pieces of work: never 32 bits

// For each byte of the result, the sign of the byte of `word` that the nibble of `selector` names
// (0..3, least significant first), eight times.
DEVICE Word spread_signs(Word word, Word selector) {
#ifdef __CUDA_ARCH__
    Word result;
    asm("prmt.b32 %0, %1, 0, %2;" : "=r"(result) : "r"(word), "r"(selector | 0x8888u));
    return result;
#else
    Word result = 0;
    for (int byte = 0; byte < 4; ++byte) {
        const Word from = (selector >> (4 * byte)) & 3;
        if ((word >> (8 * from + 7)) & 1) result |= 0xFFu << (8 * byte);
    }
    return result;
#endif
}

#ifndef __CUDA_ARCH__
// fp16 as an integer that orders as the number does: -0 and +0 are equal. NaN must not come here.
static inline int fp16_order(Word bits) {
    const int magnitude = static_cast<int>(bits & 0x7FFF);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static inline bool fp16_is_nan(Word bits) { return (bits & 0x7FFF) > 0x7C00; }
#endif

// A lane of all ones where the fp16 of `left` is greater than that of `right`; NaN never is.
DEVICE Word fp16_greater(Word left, Word right) {
#ifdef __CUDA_ARCH__
    Word result;
    asm("set.gt.u32.f16x2 %0, %1, %2;" : "=r"(result) : "r"(left), "r"(right));
    return result;
#else
    Word result = 0;
    for (int shift = 0; shift < 32; shift += 16) {
        const Word a = (left >> shift) & 0xFFFF, b = (right >> shift) & 0xFFFF;
        const bool ordered = !fp16_is_nan(a) && !fp16_is_nan(b);
        if (ordered && fp16_order(a) > fp16_order(b)) result |= 0xFFFFu << shift;
    }
    return result;
#endif
}

// A lane of all ones where the fp16 is NaN.
DEVICE Word fp16_nan(Word word) {
#ifdef __CUDA_ARCH__
    Word result;
    asm("set.nan.u32.f16x2 %0, %1, %1;" : "=r"(result) : "r"(word));
    return result;
#else
    const Word low = fp16_is_nan(word & 0xFFFF) ? 0xFFFFu : 0u;
    return low | (fp16_is_nan(word >> 16) ? 0xFFFF0000u : 0u);
#endif
}

// The data types. Each says how many lanes a word has, and
//   wins(candidate, best)    a lane of all ones where the candidate takes over: it is greater, or
//                            it is NaN. That is PyTorch's rule: of equal values the first stays, a
//                            NaN beats every number, and of several NaNs the last stays.
//   even(a, b), odd(a, b)    the even, the odd lanes of two neighbouring words
//   weave_low, weave_high    the way back: the two words
//   splat(place)             `place` in every lane
//   place_bytes(places)      the lanes of small numbers as bytes, from the lowest byte up
//   mask(signs, k)           the way back: lanes of all ones for the k-th word of a vector, where
//                            the byte of the lane has its sign set; `signs` is the word of bytes
//                            that holds the lanes of word k

struct Fp32 {
    typedef unsigned int Element;
    enum { LANES = 1 };

    DEVICE float number(Word bits) {
#ifdef __CUDA_ARCH__
        return __uint_as_float(bits);
#else
        float value;
        __builtin_memcpy(&value, &bits, sizeof value);
        return value;
#endif
    }
    DEVICE Word wins(Word candidate, Word best) {
        const float value = number(candidate);
        return value > number(best) || value != value ? ~0u : 0u;
    }
    DEVICE Word even(Word a, Word) { return a; }
    DEVICE Word odd(Word, Word b) { return b; }
    DEVICE Word weave_low(Word evens, Word) { return evens; }
    DEVICE Word weave_high(Word, Word odds) { return odds; }
    DEVICE Word splat(Word place) { return place; }
    DEVICE Word place_bytes(Word places) { return places; }
    DEVICE Word mask(Word signs, int k) { return spread_signs(signs, (k & 3) * 0x1111u); }
};

struct Fp16 {
    typedef unsigned short Element;
    enum { LANES = 2 };

    DEVICE Word wins(Word candidate, Word best) {
        return fp16_greater(candidate, best) | fp16_nan(candidate);
    }
    DEVICE Word even(Word a, Word b) { return __byte_perm(a, b, 0x5410); }
    DEVICE Word odd(Word a, Word b) { return __byte_perm(a, b, 0x7632); }
    DEVICE Word weave_low(Word evens, Word odds) { return __byte_perm(evens, odds, 0x5410); }
    DEVICE Word weave_high(Word evens, Word odds) { return __byte_perm(evens, odds, 0x7632); }
    DEVICE Word splat(Word place) { return place * 0x00010001u; }
    DEVICE Word place_bytes(Word places) { return __byte_perm(places, 0, 0x4420); }
    DEVICE Word mask(Word signs, int k) { return spread_signs(signs, k & 1 ? 0x3322u : 0x1100u); }
};

struct Int8 {
    typedef unsigned char Element;
    enum { LANES = 4 };

    // The sign of a byte of (candidate + 255 - best) / 2 is set where the candidate is greater; the
    // halved sum of two bytes never leaves its byte. Signed order is unsigned order with all signs
    // flipped, which cancels out of the exclusive or.
    DEVICE Word wins(Word candidate, Word best) {
        const Word both = (candidate ^ 0x80808080u) & ~(best ^ 0x80808080u);
        const Word half = (~(candidate ^ best) >> 1) & 0x7F7F7F7Fu;
        return spread_signs(both + half, 0x3210u);
    }
    DEVICE Word even(Word a, Word b) { return __byte_perm(a, b, 0x6420); }
    DEVICE Word odd(Word a, Word b) { return __byte_perm(a, b, 0x7531); }
    DEVICE Word weave_low(Word evens, Word odds) { return __byte_perm(evens, odds, 0x5140); }
    DEVICE Word weave_high(Word evens, Word odds) { return __byte_perm(evens, odds, 0x7362); }
    DEVICE Word splat(Word place) { return place * 0x01010101u; }
    DEVICE Word place_bytes(Word places) { return places; }
    DEVICE Word mask(Word signs, int) { return spread_signs(signs, 0x3210u); }
};

// The maximum of each lane so far, and where it was: 0 top left, 1 top right, 2 and 3 below.
struct Best {
    Word value;
    Word place;
};

template <class Type>
DEVICE void take(Best &best, Word candidate, Word place) {
    const Word wins = Type::wins(candidate, best.value);
    best.value = (candidate & wins) | (best.value & ~wins);
    best.place = (Type::splat(place) & wins) | (best.place & ~wins);
}

// The bytes of a word of the index map whose place is `place`, told by their signs. Only the two
// lowest bits of an index count, so that no content of the index map leads anywhere else.
DEVICE Word places_equal(Word index, Word place) {
    return 0x80808080u - ((index & 0x03030303u) ^ (place * 0x01010101u));
}

// The lanes of word k of a vector of which only `channels` channels exist.
template <class Type>
DEVICE Word existing_lanes(int channels, int k) {
    const int bits = (channels - k * Type::LANES) * (32 / Type::LANES);
    return bits >= 32 ? ~0u : bits <= 0 ? 0u : (1u << bits) - 1;
}

// 16, 8, 4, 2 bytes or 1 byte of memory as words, in one access; the address is a multiple of their
// number. ON_STORE lets tests count what is written.
#ifndef ON_STORE
#define ON_STORE(bytes)
#endif

template <int BYTES> struct Access;

template <> struct Access<16> {
    DEVICE void load(const Byte *from, Word *words) {
        const uint4 all = *reinterpret_cast<const uint4 *>(from);
        words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    }
    DEVICE void store(Byte *to, const Word *words) {
        ON_STORE(16);
        *reinterpret_cast<uint4 *>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    }
};

template <> struct Access<8> {
    DEVICE void load(const Byte *from, Word *words) {
        const uint2 all = *reinterpret_cast<const uint2 *>(from);
        words[0] = all.x, words[1] = all.y;
    }
    DEVICE void store(Byte *to, const Word *words) {
        ON_STORE(8);
        *reinterpret_cast<uint2 *>(to) = make_uint2(words[0], words[1]);
    }
};

template <> struct Access<4> {
    DEVICE void load(const Byte *from, Word *words) {
        words[0] = *reinterpret_cast<const unsigned int *>(from);
    }
    DEVICE void store(Byte *to, const Word *words) {
        ON_STORE(4);
        *reinterpret_cast<unsigned int *>(to) = words[0];
    }
};

template <> struct Access<2> {
    DEVICE void load(const Byte *from, Word *words) {
        words[0] = *reinterpret_cast<const unsigned short *>(from);
    }
    DEVICE void store(Byte *to, const Word *words) {
        ON_STORE(2);
        *reinterpret_cast<unsigned short *>(to) = static_cast<unsigned short>(words[0]);
    }
};

template <> struct Access<1> {
    DEVICE void load(const Byte *from, Word *words) { words[0] = *from; }
    DEVICE void store(Byte *to, const Word *words) {
        ON_STORE(1);
        *to = static_cast<Byte>(words[0]);
    }
};

DEVICE bool is_multiple(const void *address, Count bytes) {
    return reinterpret_cast<Count>(address) % bytes == 0;
}
