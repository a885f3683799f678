// Capture files as ports, for `shunt replay`. pcap and pcapng, Ethernet, read and written by libpcap.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/ports/memory_port.h"
#include "src/base/assert.h"
#include "src/base/clock.h"
#include "src/base/result.h"
#include "src/base/time.h"

namespace shunt::dataplane {

// One capture to read.
class CaptureReader {
  public:
    struct Packet {
        std::span<const std::byte> bytes;  // valid until the next call
        Instant time;                      // as captured, nanoseconds since 1970
    };

    // A missing file, one that is no capture, or not of Ethernet is refused with a sentence.
    static Result<CaptureReader> open(const std::string& path);
    CaptureReader(CaptureReader&&) noexcept;
    CaptureReader& operator=(CaptureReader&&) noexcept;
    ~CaptureReader();

    // The next packet; nothing at the end of the file, or an error where the file is damaged or a packet was cut when
    // it was captured.
    Result<std::optional<Packet>> next();

  private:
    struct Handle;
    explicit CaptureReader(std::unique_ptr<Handle> handle);
    std::unique_ptr<Handle> handle_;
};

// One capture to write.
class CaptureWriter {
  public:
    static Result<CaptureWriter> open(const std::string& path);
    CaptureWriter(CaptureWriter&&) noexcept;
    CaptureWriter& operator=(CaptureWriter&&) noexcept;
    ~CaptureWriter();

    void write(std::span<const std::byte> packet, Instant time) noexcept;
    Status close();  // what could not be written is an error here

  private:
    struct Handle;
    explicit CaptureWriter(std::unique_ptr<Handle> handle);
    std::unique_ptr<Handle> handle_;
};

// What became of one packet of a capture.
struct Fate {
    std::optional<Verdict> verdict{};  // `keep`: it was forwarded; nothing: Shunt still holds it
    ServiceIndex service{};
    shm::Handle handle{};
    std::uint64_t out{};  // its place among the packets sent, from 1; 0: it was not sent
};

// What the ports of one replay share: the files they write to, and what became of every packet. Frames carry the time
// at which they were written.
class CaptureJournal {
  public:
    CaptureJournal(const ManualClock& clock, std::optional<CaptureWriter> out, std::optional<CaptureWriter> punt)
        : clock_(clock), out_(std::move(out)), punt_(std::move(punt)) {}

    // Enters the next packet of the capture; its number, from 1.
    std::uint64_t enter() {
        fates_.emplace_back();
        ++held_;
        return fates_.size();
    }
    void sent(const Lane& lane) noexcept;
    void punted(const Lane& lane) noexcept;
    void freed(const Lane& lane) noexcept;
    // A packet that no port received: the kernel's.
    void passed(std::uint64_t number, std::span<const std::byte> packet) noexcept;

    // Packets that wait, as fragments do for the first of their datagram.
    std::uint64_t held() const noexcept { return held_; }
    const std::vector<Fate>& fates() const noexcept { return fates_; }
    Status close();

  private:
    void settle(const Lane& lane, std::uint64_t out) noexcept;
    void settle(std::uint64_t number, const Fate& fate) noexcept;

    const ManualClock& clock_;
    std::optional<CaptureWriter> out_;
    std::optional<CaptureWriter> punt_;
    std::vector<Fate> fates_{};
    std::uint64_t held_{};
    std::uint64_t sent_{};
};

// A port whose wire is a capture: packets are made to arrive one by one, under their numbers in the journal, and what
// leaves is written there.
class CapturePort : public MemoryPort {
  public:
    CapturePort(MemoryPool& pool, const MacAddress& mac, CaptureJournal& journal)
        : MemoryPort(pool, mac), journal_(journal) {}

    void arrive(std::uint64_t number, std::span<const std::byte> packet) noexcept {
        MemoryBuffer* buffer = inject(packet);
        SHUNT_ASSERT(buffer != nullptr);  // the pool has more than Shunt may hold
        buffer->tag = number;
    }

    // Port.
    std::size_t transmit(std::span<Lane* const> lanes) noexcept {
        for (const Lane* lane : lanes) journal_.sent(*lane);
        const std::size_t taken = MemoryPort::transmit(lanes);
        clear_output();
        return taken;
    }
    bool punt(Lane& lane) noexcept {
        journal_.punted(lane);
        const bool taken = MemoryPort::punt(lane);
        clear_output();
        return taken;
    }
    void drop(Lane& lane) noexcept {
        journal_.freed(lane);
        MemoryPort::drop(lane);
    }

  private:
    CaptureJournal& journal_;
};
static_assert(Port<CapturePort>);

}  // namespace shunt::dataplane
