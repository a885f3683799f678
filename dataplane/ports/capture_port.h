// A port whose wire is a capture file: packets come from one file and go to another, time comes with the packets.
// pcap and pcapng, Ethernet, read and written by libpcap.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "dataplane/ports/memory_port.h"
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

// Feeds a capture through a memory port, packet by packet, so that every packet is processed at its own time.
class CapturePort : public MemoryPort {
  public:
    CapturePort(MemoryPool& pool, const MacAddress& mac, CaptureReader in, std::optional<CaptureWriter> out,
                std::optional<CaptureWriter> punt)
        : MemoryPort(pool, mac), in_(std::move(in)), out_(std::move(out)), punt_(std::move(punt)) {}

    // Makes the next packet of the capture arrive; its time, or nothing at the end.
    Result<std::optional<Instant>> advance();
    // Writes what was sent and punted since, under the time of the packet that caused it.
    void flush() noexcept;
    Status close();

  private:
    CaptureReader in_;
    std::optional<CaptureWriter> out_;
    std::optional<CaptureWriter> punt_;
    Instant time_{};
};
static_assert(Port<CapturePort>);

}  // namespace shunt::dataplane
