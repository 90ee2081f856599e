// Where an element lies in memory, and which piece of work belongs to a thread.
//
// `image`, `plane`, `channel` and sides fit 32 bits; everything made from them is 64 bits wide.

// A linear tensor: [planes][pixels], where a plane is one channel of one image.
DEVICE Count linear_offset(Count plane, Count pixel, Count pixels) {
    return plane * pixels + pixel;
}

// Channels last, padded up to a multiple of BLOCK. TensorRT's HWC8 and HWC16 keep all channels of a
// pixel together, [images][pixels][channels padded]; its CHW32 keeps blocks of them apart,
// [images][ceil(channels / 32)][pixels][32].
template <int BLOCK, bool IS_APART>
struct ChannelsLast {
    enum { APART = IS_APART };

    DEVICE Count padded(Count channels) { return (channels + BLOCK - 1) / BLOCK * BLOCK; }

    // Groups of channels that lie apart.
    DEVICE Count groups(Count channels) { return APART ? (channels + BLOCK - 1) / BLOCK : 1; }

    // Elements from a pixel to the next one.
    DEVICE Count step(Count channels) { return APART ? BLOCK : padded(channels); }

    DEVICE Count offset(Count image, Count channel, Count pixel, Count channels, Count pixels) {
        const Count group = APART ? channel / BLOCK : 0;
        const Count within = APART ? channel % BLOCK : channel;
        const Count first = (image * groups(channels) + group) * pixels;
        return (first + pixel) * step(channels) + within;
    }
};

// How many of the `most` channels from `first` on exist.
DEVICE int existing_channels(Count first, Count channels, unsigned most) {
    if (first >= channels) return 0;
    return static_cast<int>(channels - first < most ? channels - first : most);
}

typedef ChannelsLast<8, false> Hwc8;
typedef ChannelsLast<16, false> Hwc16;
typedef ChannelsLast<32, true> Chw32;

// `count` / `by`, where 32 bits do for all but gigantic planes and are several times cheaper.
DEVICE Count divide(Count count, unsigned int by) {
    if (count >> 32) return count / by;
    return static_cast<unsigned int>(count) / by;
}

// The first piece of work of this thread, and the distance to its next one. One thread has one
// piece unless the grid is smaller than the work.
DEVICE Count first_piece() { return static_cast<Count>(blockIdx.x) * blockDim.x + threadIdx.x; }
DEVICE Count piece_stride() { return static_cast<Count>(gridDim.x) * blockDim.x; }
