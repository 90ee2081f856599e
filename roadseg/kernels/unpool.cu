// The way back of pooling: each value where its maximum was, zeros elsewhere.
//
// Each thread gathers: it reads values and index once and writes the whole window of each, so every
// element of y is written exactly once, nothing has to be cleared first, and no content of the
// index map can lead out of y. A place in a row or column that was cropped is dropped.

// One value of one channel: for rows that do not start at multiples of 16 bytes.
template <class Type>
DEVICE void unpool_linear_elements(const Byte *x, const Byte *index, Count planes, unsigned small_h,
                                   unsigned small_w, Count height, Count width, Byte *y) {
    typedef Access<sizeof(typename Type::Element)> Element;
    enum { BYTES = sizeof(typename Type::Element) };
    const Count small = static_cast<Count>(small_h) * small_w, pixels = height * width;
    for (Count plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        for (Count piece = first_piece(); piece < small; piece += piece_stride()) {
            const Count row = divide(piece, small_w), column = piece - row * small_w;
            const bool right = 2 * column + 1 < width, below = 2 * row + 1 < height;
            const Count from = linear_offset(plane, piece, small);
            Word value;
            Element::load(x + from * BYTES, &value);
            const Word place = index[from] & 3;
            Word window[4];
#pragma unroll
            for (Word k = 0; k < 4; ++k) window[k] = place == k ? value : 0;
            Byte *to = y + linear_offset(plane, 2 * row * width + 2 * column, pixels) * BYTES;
            Byte *under = to + width * BYTES;
            Element::store(to, &window[0]);
            if (right) Element::store(to + BYTES, &window[1]);
            if (below) Element::store(under, &window[2]);
            if (right && below) Element::store(under + BYTES, &window[3]);
        }
    }
}

// 8 bytes of small row become 16 bytes of each of two rows. The width is even here.
template <class Type>
DEVICE void unpool_linear_vectors(const Byte *x, const Byte *index, Count planes, unsigned small_h,
                                  Count height, Count width, Byte *y) {
    enum { BYTES = sizeof(typename Type::Element), ELEMENTS = 16 / BYTES, POOLED = ELEMENTS / 2 };
    const unsigned vectors = static_cast<unsigned>(width / ELEMENTS);
    const Count small = static_cast<Count>(small_h) * (width / 2), pixels = height * width;
    const Count pieces = static_cast<Count>(small_h) * vectors;
    for (Count plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        for (Count piece = first_piece(); piece < pieces; piece += piece_stride()) {
            const Count row = divide(piece, vectors), vector = piece - row * vectors;
            const bool below = 2 * row + 1 < height;
            // The small rows of a plane follow each other, so pieces count through them.
            const Count from = linear_offset(plane, piece * POOLED, small);
            Word values[2], places[2] = {0, 0};
            Access<8>::load(x + from * BYTES, values);
            Access<POOLED>::load(index + from, places);
            Word top[4], low[4];
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                const Word bytes = places[k * Type::LANES / 4];
                Word window[4];
#pragma unroll
                for (int place = 0; place < 4; ++place) {
                    window[place] = values[k] & Type::mask(places_equal(bytes, place), k);
                }
                top[2 * k] = Type::weave_low(window[0], window[1]);
                top[2 * k + 1] = Type::weave_high(window[0], window[1]);
                low[2 * k] = Type::weave_low(window[2], window[3]);
                low[2 * k + 1] = Type::weave_high(window[2], window[3]);
            }
            const Count pixel = 2 * row * width + vector * ELEMENTS;
            Byte *to = y + linear_offset(plane, pixel, pixels) * BYTES;
            Access<16>::store(to, top);
            if (below) Access<16>::store(to + width * BYTES, low);
        }
    }
}

template <class Type>
DEVICE void unpool_linear(const Byte *x, const Byte *index, Count batch, Count channels,
                          unsigned small_h, unsigned small_w, unsigned crop_h, unsigned crop_w,
                          Byte *y) {
    enum { ELEMENTS = 16 / sizeof(typename Type::Element) };
    const Count height = 2 * static_cast<Count>(small_h) - crop_h;
    const Count width = 2 * static_cast<Count>(small_w) - crop_w;
    const bool values_aligned = is_multiple(y, 16) && is_multiple(x, 8);
    const bool index_aligned = is_multiple(index, ELEMENTS / 2);
    if (values_aligned && index_aligned && width % ELEMENTS == 0) {
        unpool_linear_vectors<Type>(x, index, batch * channels, small_h, height, width, y);
    } else {
        unpool_linear_elements<Type>(x, index, batch * channels, small_h, small_w, height, width,
                                     y);
    }
}

// 16 bytes of channels of one small pixel. Channels that do not exist become 0 in y, whatever x and
// index hold there.
template <class Type, class Values, class Index>
DEVICE void unpool_channels_last(const Byte *x, const Byte *index, Count batch, Count channels,
                                 unsigned small_h, unsigned small_w, unsigned crop_h,
                                 unsigned crop_w, Byte *y) {
    enum { BYTES = sizeof(typename Type::Element), ELEMENTS = 16 / BYTES };
    const Count height = 2 * static_cast<Count>(small_h) - crop_h;
    const Count width = 2 * static_cast<Count>(small_w) - crop_w;
    const Count small = static_cast<Count>(small_h) * small_w, pixels = height * width;
    const Count groups = Values::groups(channels), step = Values::step(channels);
    const unsigned vectors = static_cast<unsigned>(step / ELEMENTS);
    for (Count plane = blockIdx.y; plane < batch * groups; plane += gridDim.y) {
        const Count image = plane / groups, group = plane - image * groups;
        for (Count piece = first_piece(); piece < small * vectors; piece += piece_stride()) {
            const Count pixel = divide(piece, vectors);
            const Count channel = group * step + (piece - pixel * vectors) * ELEMENTS;
            const Count row = divide(pixel, small_w), column = pixel - row * small_w;
            const int existing = existing_channels(channel, channels, ELEMENTS);
            Word values[4], places[ELEMENTS / 4];
            const Count from = Values::offset(image, channel, pixel, channels, small);
            Access<16>::load(x + from * BYTES, values);
            const Count index_from = Index::offset(image, channel, pixel, channels, small);
            Access<ELEMENTS>::load(index + index_from, places);
            Word window[4][4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                if (existing < ELEMENTS) values[k] &= existing_lanes<Type>(existing, k);
                const Word bytes = places[k * Type::LANES / 4];
#pragma unroll
                for (int place = 0; place < 4; ++place) {
                    window[place][k] = values[k] & Type::mask(places_equal(bytes, place), k);
                }
            }
            const bool right = 2 * column + 1 < width, below = 2 * row + 1 < height;
            const Count corner = 2 * row * width + 2 * column;
            Byte *to = y + Values::offset(image, channel, corner, channels, pixels) * BYTES;
            const Count across = step * BYTES, down = across * width;
            Access<16>::store(to, window[0]);
            if (right) Access<16>::store(to + across, window[1]);
            if (below) Access<16>::store(to + down, window[2]);
            if (right && below) Access<16>::store(to + down + across, window[3]);
        }
    }
}

#define UNPOOL(symbol, body)                                                                      \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        symbol(const Byte *__restrict__ x, const Byte *__restrict__ index, int batch,             \
               int channels, int height, int width, int crop_h, int crop_w,                       \
               Byte *__restrict__ y) {                                                            \
        body(x, index, batch, channels, height, width, crop_h, crop_w, y);                        \
    }

UNPOOL(roadseg_unpool_fp32_linear_linear, (unpool_linear<Fp32>))
UNPOOL(roadseg_unpool_fp16_linear_linear, (unpool_linear<Fp16>))
UNPOOL(roadseg_unpool_fp16_hwc8_chw32, (unpool_channels_last<Fp16, Hwc8, Chw32>))
UNPOOL(roadseg_unpool_fp16_hwc8_hwc16, (unpool_channels_last<Fp16, Hwc8, Hwc16>))
UNPOOL(roadseg_unpool_int8_linear_linear, (unpool_linear<Int8>))
UNPOOL(roadseg_unpool_int8_chw32_chw32, (unpool_channels_last<Int8, Chw32, Chw32>))
UNPOOL(roadseg_unpool_int8_hwc16_hwc16, (unpool_channels_last<Int8, Hwc16, Hwc16>))
