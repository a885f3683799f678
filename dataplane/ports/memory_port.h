// A port in memory, for tests, simulation and benchmarks: what is injected is received, what is sent or punted can be
// read back. Buffers come from a pool that ports of one process share, so a packet may leave by another port.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/ports/port.h"
#include "src/base/poison.h"

namespace shunt::dataplane {

struct MemoryBuffer {
    static constexpr std::size_t headroom = packet_headroom;
    static constexpr std::size_t capacity = 10'240;

    std::array<std::byte, headroom + capacity> storage;
    std::size_t begin{headroom};
    std::size_t length{};
    std::uint64_t tag{};      // for whoever injects: which packet this is; 0: one that Shunt made
    bool segmented{};         // as a port says that the packet goes on in another buffer
    bool checksum_flagged{};  // as hardware says that a checksum is bad

    std::span<const std::byte> bytes() const noexcept { return {storage.data() + begin, length}; }
    // A packet of this length, and nothing behind it.
    void hold(std::size_t bytes) noexcept {
        length = bytes;
        poison(storage.data() + headroom + bytes, capacity - bytes);
    }
    void reset() noexcept {
        unpoison(storage.data(), storage.size());
        begin = headroom;
        length = 0;
        tag = 0;
        segmented = checksum_flagged = false;
    }
};

class MemoryPool {
  public:
    explicit MemoryPool(std::size_t buffers)
        : size_(buffers), all_(std::make_unique_for_overwrite<MemoryBuffer[]>(buffers)) {
        free_.reserve(buffers);
        for (std::size_t i = 0; i < buffers; ++i) free_.push_back(&all_[i]);
    }

    MemoryBuffer* take() noexcept {
        if (free_.size() <= withheld_) return nullptr;
        MemoryBuffer* buffer = free_.back();
        free_.pop_back();
        buffer->reset();
        return buffer;
    }
    void give_back(MemoryBuffer* buffer) noexcept { free_.push_back(buffer); }
    // As if somebody else had so many of the buffers.
    void withhold(std::size_t buffers) noexcept { withheld_ = buffers; }
    std::size_t size() const noexcept { return size_; }
    std::size_t available() const noexcept { return free_.size(); }

  private:
    std::size_t size_;
    std::unique_ptr<MemoryBuffer[]> all_;
    std::vector<MemoryBuffer*> free_;
    std::size_t withheld_{};
};

class MemoryPort {
  public:
    MemoryPort(MemoryPool& pool, const MacAddress& mac) : pool_(pool), mac_(mac) {
        for (auto* queue : {&arriving_, &sent_, &punted_}) queue->reserve(pool.size());
    }

    // Makes a packet arrive; the buffer, to set its marks, or null if the pool is empty. What is too long for a buffer
    // is cut and said to be segmented.
    MemoryBuffer* inject(std::span<const std::byte> packet) noexcept {
        MemoryBuffer* buffer = pool_.take();
        if (buffer == nullptr) return nullptr;
        buffer->segmented = packet.size() > MemoryBuffer::capacity;
        buffer->hold(std::min(packet.size(), MemoryBuffer::capacity));
        if (buffer->length > 0) std::memcpy(buffer->storage.data() + buffer->begin, packet.data(), buffer->length);
        arriving_.push_back(buffer);
        return buffer;
    }
    // Accept at most this many more packets for sending; the default is no limit.
    void limit_transmit(std::size_t packets) noexcept { transmit_room_ = packets; }

    // A port without a way back to the kernel.
    void allow_punt(bool allowed) noexcept { punt_allowed_ = allowed; }

    std::span<MemoryBuffer* const> sent() const noexcept { return sent_; }
    std::span<MemoryBuffer* const> punted() const noexcept { return punted_; }
    void clear_output() noexcept {
        for (auto* queue : {&sent_, &punted_}) {
            for (MemoryBuffer* buffer : *queue) pool_.give_back(buffer);
            queue->clear();
        }
    }

    // Port.
    void receive(Batch& batch) noexcept {
        for (; next_ < arriving_.size() && batch.room() > 0; ++next_) {
            MemoryBuffer* buffer = arriving_[next_];
            batch.add({.bytes = buffer->storage.data() + buffer->begin,
                       .buffer = buffer,
                       .length = static_cast<std::uint32_t>(buffer->length),
                       .segmented = buffer->segmented,
                       .checksum_flagged = buffer->checksum_flagged});
        }
        if (next_ == arriving_.size()) {
            arriving_.clear();
            next_ = 0;
        }
    }
    std::size_t transmit(std::span<Lane* const> lanes) noexcept {
        const std::size_t count = std::min(lanes.size(), transmit_room_);
        for (Lane* lane : lanes.first(count)) sent_.push_back(buffer_of(*lane));
        transmit_room_ -= count;
        return count;
    }
    bool punt(Lane& lane) noexcept {
        if (!punt_allowed_) return false;
        punted_.push_back(buffer_of(lane));
        return true;
    }
    bool make(Lane& lane, std::uint32_t length) noexcept {
        MemoryBuffer* buffer = length <= MemoryBuffer::capacity ? pool_.take() : nullptr;
        if (buffer == nullptr) return false;
        buffer->hold(length);
        lane.bytes = buffer->storage.data() + MemoryBuffer::headroom;
        lane.buffer = buffer;
        return true;
    }
    void drop(Lane& lane) noexcept { pool_.give_back(static_cast<MemoryBuffer*>(lane.buffer)); }
    MacAddress mac() const noexcept { return mac_; }

  private:
    // A mode may have put bytes before the packet or taken some away.
    static MemoryBuffer* buffer_of(Lane& lane) noexcept {
        auto* buffer = static_cast<MemoryBuffer*>(lane.buffer);
        buffer->begin = static_cast<std::size_t>(lane.bytes - buffer->storage.data());
        buffer->length = lane.length;
        return buffer;
    }

    MemoryPool& pool_;
    MacAddress mac_;
    std::vector<MemoryBuffer*> arriving_;
    std::size_t next_{};
    std::vector<MemoryBuffer*> sent_;
    std::vector<MemoryBuffer*> punted_;
    std::size_t transmit_room_{~std::size_t{0}};
    bool punt_allowed_{true};
};
static_assert(Port<MemoryPort>);

}  // namespace shunt::dataplane
