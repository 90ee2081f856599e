// 2x2 max-pooling with stride 2 that also says where each maximum was.
//
// Sides are pooled with ceil: where a side is odd, the windows of its last row or column have only
// the elements that exist. index is 2 * row + column of the maximum in its window.

// One pooled pixel of one channel: for rows that do not start at multiples of 16 bytes.
template <class Type>
DEVICE void pool_linear_elements(const Byte *x, Count planes, unsigned height, unsigned width,
                                 Byte *y, Byte *index) {
    typedef Access<sizeof(typename Type::Element)> Element;
    enum { BYTES = sizeof(typename Type::Element) };
    const unsigned pooled_h = (height >> 1) + (height & 1), pooled_w = (width >> 1) + (width & 1);
    const Count pixels = static_cast<Count>(height) * width;
    const Count pooled = static_cast<Count>(pooled_h) * pooled_w;
    for (Count plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        for (Count piece = first_piece(); piece < pooled; piece += piece_stride()) {
            const Count row = divide(piece, pooled_w), column = piece - row * pooled_w;
            const bool right = 2 * column + 1 < width, below = 2 * row + 1 < height;
            const Count pixel = 2 * row * width + 2 * column;
            const Byte *from = x + linear_offset(plane, pixel, pixels) * BYTES;
            const Byte *under = from + static_cast<Count>(width) * BYTES;
            Word top_left, top_right = 0, low_left = 0, low_right = 0;
            Element::load(from, &top_left);
            if (right) Element::load(from + BYTES, &top_right);
            if (below) Element::load(under, &low_left);
            if (right && below) Element::load(under + BYTES, &low_right);
            Best best = {top_left, 0};
            if (right) take<Type>(best, top_right, 1);
            if (below) take<Type>(best, low_left, 2);
            if (right && below) take<Type>(best, low_right, 3);
            const Count to = linear_offset(plane, piece, pooled);
            Element::store(y + to * BYTES, &best.value);
            Access<1>::store(index + to, &best.place);
        }
    }
}

// 16 bytes of each of two rows, that is 8 bytes of pooled row. The width is even here.
template <class Type>
DEVICE void pool_linear_vectors(const Byte *x, Count planes, unsigned height, unsigned width,
                                Byte *y, Byte *index) {
    enum { BYTES = sizeof(typename Type::Element), ELEMENTS = 16 / BYTES, POOLED = ELEMENTS / 2 };
    const unsigned pooled_h = (height >> 1) + (height & 1), vectors = width / ELEMENTS;
    const Count pixels = static_cast<Count>(height) * width;
    const Count pooled = static_cast<Count>(pooled_h) * (width / 2);
    const Count pieces = static_cast<Count>(pooled_h) * vectors;
    for (Count plane = blockIdx.y; plane < planes; plane += gridDim.y) {
        for (Count piece = first_piece(); piece < pieces; piece += piece_stride()) {
            const Count row = divide(piece, vectors), vector = piece - row * vectors;
            const bool below = 2 * row + 1 < height;
            const Count pixel = 2 * row * width + vector * ELEMENTS;
            const Byte *from = x + linear_offset(plane, pixel, pixels) * BYTES;
            Word top[4], low[4] = {0, 0, 0, 0};
            Access<16>::load(from, top);
            if (below) Access<16>::load(from + static_cast<Count>(width) * BYTES, low);
            Word values[2], places[2] = {0, 0};
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                Best best = {Type::even(top[2 * k], top[2 * k + 1]), 0};
                take<Type>(best, Type::odd(top[2 * k], top[2 * k + 1]), 1);
                if (below) {
                    take<Type>(best, Type::even(low[2 * k], low[2 * k + 1]), 2);
                    take<Type>(best, Type::odd(low[2 * k], low[2 * k + 1]), 3);
                }
                values[k] = best.value;
                const int lane = k * Type::LANES;
                places[lane / 4] |= Type::place_bytes(best.place) << (8 * (lane % 4));
            }
            // The pooled rows of a plane follow each other, so pieces count through them.
            const Count to = linear_offset(plane, piece * POOLED, pooled);
            Access<8>::store(y + to * BYTES, values);
            Access<POOLED>::store(index + to, places);
        }
    }
}

template <class Type>
DEVICE void pool_linear(const Byte *x, Count batch, Count channels, unsigned height, unsigned width,
                        Byte *y, Byte *index) {
    enum { ELEMENTS = 16 / sizeof(typename Type::Element) };
    const bool values_aligned = is_multiple(x, 16) && is_multiple(y, 8);
    const bool index_aligned = is_multiple(index, ELEMENTS / 2);
    if (values_aligned && index_aligned && width % ELEMENTS == 0) {
        pool_linear_vectors<Type>(x, batch * channels, height, width, y, index);
    } else {
        pool_linear_elements<Type>(x, batch * channels, height, width, y, index);
    }
}

// 16 bytes of channels of one pooled pixel. Channels that do not exist become 0 in y and index,
// whatever x holds there.
template <class Type, class Values, class Index>
DEVICE void pool_channels_last(const Byte *x, Count batch, Count channels, unsigned height,
                               unsigned width, Byte *y, Byte *index) {
    enum { BYTES = sizeof(typename Type::Element), ELEMENTS = 16 / BYTES };
    const unsigned pooled_h = (height >> 1) + (height & 1), pooled_w = (width >> 1) + (width & 1);
    const Count pixels = static_cast<Count>(height) * width;
    const Count pooled = static_cast<Count>(pooled_h) * pooled_w;
    const Count groups = Values::groups(channels), step = Values::step(channels);
    // The padding of the index map can be wider than that of the values: it is written, too.
    const Count index_room = Values::APART ? step : Index::padded(channels);
    const Count room = index_room > step ? index_room : step;
    const unsigned vectors = static_cast<unsigned>(room / ELEMENTS);
    for (Count plane = blockIdx.y; plane < batch * groups; plane += gridDim.y) {
        const Count image = plane / groups, group = plane - image * groups;
        for (Count piece = first_piece(); piece < pooled * vectors; piece += piece_stride()) {
            const Count small = divide(piece, vectors);
            const Count channel = group * step + (piece - small * vectors) * ELEMENTS;
            const Count row = divide(small, pooled_w), column = small - row * pooled_w;
            const int existing = existing_channels(channel, channels, ELEMENTS);
            Word places[ELEMENTS / 4] = {};
            if (channel < Values::padded(channels)) {
                const bool right = 2 * column + 1 < width, below = 2 * row + 1 < height;
                const Count pixel = 2 * row * width + 2 * column;
                const Byte *from =
                    x + Values::offset(image, channel, pixel, channels, pixels) * BYTES;
                const Count across = step * BYTES, down = across * width;
                Word top_left[4], top_right[4] = {}, low_left[4] = {}, low_right[4] = {};
                Access<16>::load(from, top_left);
                if (right) Access<16>::load(from + across, top_right);
                if (below) Access<16>::load(from + down, low_left);
                if (right && below) Access<16>::load(from + down + across, low_right);
                Word values[4];
#pragma unroll
                for (int k = 0; k < 4; ++k) {
                    Best best = {top_left[k], 0};
                    if (right) take<Type>(best, top_right[k], 1);
                    if (below) take<Type>(best, low_left[k], 2);
                    if (right && below) take<Type>(best, low_right[k], 3);
                    if (existing < ELEMENTS) {
                        best.value &= existing_lanes<Type>(existing, k);
                        best.place &= existing_lanes<Type>(existing, k);
                    }
                    values[k] = best.value;
                    const int lane = k * Type::LANES;
                    places[lane / 4] |= Type::place_bytes(best.place) << (8 * (lane % 4));
                }
                const Count to = Values::offset(image, channel, small, channels, pooled);
                Access<16>::store(y + to * BYTES, values);
            }
            const Count to = Index::offset(image, channel, small, channels, pooled);
            Access<ELEMENTS>::store(index + to, places);
        }
    }
}

#define POOL(symbol, body)                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        symbol(const Byte *__restrict__ x, int batch, int channels, int height, int width,        \
               Byte *__restrict__ y, Byte *__restrict__ index) {                                  \
        body(x, batch, channels, height, width, y, index);                                        \
    }

POOL(roadseg_pool_fp32_linear_linear, (pool_linear<Fp32>))
POOL(roadseg_pool_fp16_linear_linear, (pool_linear<Fp16>))
POOL(roadseg_pool_fp16_hwc8_chw32, (pool_channels_last<Fp16, Hwc8, Chw32>))
POOL(roadseg_pool_fp16_hwc8_hwc16, (pool_channels_last<Fp16, Hwc8, Hwc16>))
POOL(roadseg_pool_int8_linear_linear, (pool_linear<Int8>))
POOL(roadseg_pool_int8_chw32_chw32, (pool_channels_last<Int8, Chw32, Chw32>))
POOL(roadseg_pool_int8_hwc16_hwc16, (pool_channels_last<Int8, Hwc16, Hwc16>))
