// An AF_XDP socket: one queue of an interface as four rings that we share with the kernel. Without libxdp, because this
// one can be handed to another process as it stands: what a ring holds is in its memory and nowhere else, so whoever
// has the socket's descriptor and the frames goes on where the other stopped, and no packet is lost between the two.
//
//   fill       we: frames to receive into           received   the kernel: packets
//   sending    we: packets                          sent       the kernel: frames that it is done with
//
// Addresses are offsets into the frames. One thread works the rings; anybody may look at the counters.
#pragma once

#include <linux/if_xdp.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/frames.h"
#include "dataplane/xdp/interface.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

// Positions count on, and are taken modulo the ring's size (a power of two) where an entry is meant.
template <class Entry>
class Ring {
  public:
    Ring() = default;
    Ring(std::byte* memory, const xdp_ring_offset& at, std::uint32_t size) noexcept
        : producer_(word(memory, at.producer)),
          consumer_(word(memory, at.consumer)),
          flags_(word(memory, at.flags)),
          entries_(reinterpret_cast<Entry*>(memory + at.desc)),
          mask_(size - 1) {}

    std::uint32_t size() const noexcept { return mask_ + 1; }
    std::uint32_t produced() const noexcept { return producer_->load(std::memory_order_acquire); }
    std::uint32_t consumed() const noexcept { return consumer_->load(std::memory_order_acquire); }
    std::uint32_t filled() const noexcept { return produced() - consumed(); }
    std::uint32_t room() const noexcept { return size() - filled(); }
    Entry& at(std::uint32_t position) const noexcept { return entries_[position & mask_]; }

    void produce(std::uint32_t position) const noexcept { producer_->store(position, std::memory_order_release); }
    void consume(std::uint32_t position) const noexcept { consumer_->store(position, std::memory_order_release); }
    // The kernel does not look by itself.
    bool wants_call() const noexcept { return (flags_->load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0; }
    // What it holds now, one after the other.
    template <class F>
    void for_each(F&& f) const {
        for (std::uint32_t i = consumed(), end = produced(); i != end; ++i) f(at(i));
    }

  private:
    using Word = std::atomic<std::uint32_t>;
    static Word* word(std::byte* memory, std::uint64_t offset) noexcept {
        return reinterpret_cast<Word*>(memory + offset);
    }

    Word* producer_{};
    Word* consumer_{};
    Word* flags_{};
    Entry* entries_{};
    std::uint32_t mask_{};
};

class Socket {
  public:
    // Bound to the queue, with rings of `descriptors` each (a power of two); nothing reaches it before the steering
    // program knows it. A queue that the kernel has not taken back yet from somebody who died is waited for.
    static Result<Socket> open(const Interface& interface, std::uint32_t queue, const Frames& frames,
                               std::uint32_t descriptors);
    // One that another process opened on the same frames; it may go on working the rings until we do.
    static Result<Socket> adopt(const Interface& interface, Descriptor socket, std::uint32_t descriptors);

    Socket(Socket&& other) noexcept { *this = std::move(other); }
    Socket& operator=(Socket&& other) noexcept;
    ~Socket();

    int get() const noexcept { return socket_.get(); }
    const Ring<std::uint64_t>& fill() const noexcept { return fill_; }
    const Ring<xdp_desc>& received() const noexcept { return received_; }
    const Ring<xdp_desc>& sending() const noexcept { return sending_; }
    const Ring<std::uint64_t>& sent() const noexcept { return sent_; }
    // Frames handed to the kernel for sending that it has not given back.
    std::uint32_t in_flight() const noexcept { return sending_.produced() - sent_.produced(); }

    // Lets the kernel look for packets, where it does not do so by itself.
    void look() const noexcept;
    // Has the kernel send what is in the ring; false: it took a part and wants to be asked again.
    bool send() const noexcept;
    // Packets that were ours and did not get here: no frame to receive into, or no room in the ring.
    std::uint64_t missed() const noexcept;

  private:
    struct Mapping {
        void* memory{};
        std::size_t size{};
    };
    Socket() = default;
    Status map_rings(const Interface& interface, std::uint32_t descriptors);
    void poll_busily() noexcept;

    Descriptor socket_;
    std::array<Mapping, 4> mappings_{};
    Ring<std::uint64_t> fill_, sent_;
    Ring<xdp_desc> received_, sending_;
    bool polls_busily_{};
};

}  // namespace shunt::dataplane::xdp
