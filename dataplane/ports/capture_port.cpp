#include "dataplane/ports/capture_port.h"

#include <pcap/pcap.h>

#include <array>
#include <utility>

namespace shunt::dataplane {

struct CaptureReader::Handle {
    pcap_t* capture;
    std::string path;
    std::uint64_t packet{};
    ~Handle() { pcap_close(capture); }
};

CaptureReader::CaptureReader(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
CaptureReader::CaptureReader(CaptureReader&&) noexcept = default;
CaptureReader& CaptureReader::operator=(CaptureReader&&) noexcept = default;
CaptureReader::~CaptureReader() = default;

Result<CaptureReader> CaptureReader::open(const std::string& path) {
    std::array<char, PCAP_ERRBUF_SIZE> reason{};
    pcap_t* capture = pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, reason.data());
    if (capture == nullptr) {
        return Error{.message = "cannot read the capture: " + std::string(reason.data()),
                     .remedy = "give a pcap or pcapng file",
                     .file = path};
    }
    auto handle = std::unique_ptr<Handle>(new Handle{capture, path});
    if (const int type = pcap_datalink(capture); type != DLT_EN10MB) {
        const char* name = pcap_datalink_val_to_name(type);
        return Error{.message = "the capture is of link type " + (name ? std::string(name) : std::to_string(type)) +
                                ", not Ethernet",
                     .remedy = "capture on an Ethernet interface, not on \"any\"",
                     .file = path};
    }
    return CaptureReader(std::move(handle));
}

Result<std::optional<CaptureReader::Packet>> CaptureReader::next() {
    pcap_pkthdr* header = nullptr;
    const u_char* bytes = nullptr;
    const int outcome = pcap_next_ex(handle_->capture, &header, &bytes);
    if (outcome == PCAP_ERROR_BREAK) return std::optional<Packet>{};
    ++handle_->packet;
    const std::string place = "packet " + std::to_string(handle_->packet);
    if (outcome != 1) {
        return Error{.message = place + ": " + pcap_geterr(handle_->capture),
                     .remedy = "the packets before it were read",
                     .file = handle_->path};
    }
    if (header->caplen < header->len) {
        return Error{.message = place + " has " + std::to_string(header->len) + " bytes, but only " +
                                std::to_string(header->caplen) + " of them were captured",
                     .remedy = "capture whole packets (tcpdump -s 0)",
                     .file = handle_->path};
    }
    const std::int64_t nanoseconds = static_cast<std::int64_t>(header->ts.tv_sec) * 1'000'000'000 + header->ts.tv_usec;
    return std::optional(Packet{std::as_bytes(std::span(bytes, header->len)), Instant{nanoseconds}});
}

struct CaptureWriter::Handle {
    pcap_t* format;
    pcap_dumper_t* file;
    std::string path;
    ~Handle() {
        if (file != nullptr) pcap_dump_close(file);
        pcap_close(format);
    }
};

CaptureWriter::CaptureWriter(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
CaptureWriter::CaptureWriter(CaptureWriter&&) noexcept = default;
CaptureWriter& CaptureWriter::operator=(CaptureWriter&&) noexcept = default;
CaptureWriter::~CaptureWriter() = default;

Result<CaptureWriter> CaptureWriter::open(const std::string& path) {
    constexpr int longest = 65'535;
    pcap_t* format = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, longest, PCAP_TSTAMP_PRECISION_NANO);
    auto handle = std::unique_ptr<Handle>(new Handle{format, nullptr, path});
    handle->file = pcap_dump_open(format, path.c_str());
    if (handle->file == nullptr) {
        return Error{.message = "cannot write the capture: " + std::string(pcap_geterr(format)),
                     .remedy = "check the directory and its permissions",
                     .file = path};
    }
    return CaptureWriter(std::move(handle));
}

void CaptureWriter::write(std::span<const std::byte> packet, Instant time) noexcept {
    pcap_pkthdr header{};
    header.caplen = header.len = static_cast<bpf_u_int32>(packet.size());
    header.ts.tv_sec = time.nanoseconds / 1'000'000'000;
    header.ts.tv_usec = time.nanoseconds % 1'000'000'000;  // nanoseconds, as the file was opened
    pcap_dump(reinterpret_cast<u_char*>(handle_->file), &header, reinterpret_cast<const u_char*>(packet.data()));
}

Status CaptureWriter::close() {
    if (pcap_dump_flush(handle_->file) == 0) return Done{};
    return Error{.message = "the capture could not be written in full", .remedy = "make room", .file = handle_->path};
}

// A packet that was dropped may leave all the same, as the answer to its sender.
void CaptureJournal::sent(const Lane& lane) noexcept {
    if (out_) out_->write({lane.bytes, lane.length}, clock_.now());
    ++sent_;
    settle(lane, lane.verdict.keeps() ? sent_ : 0);
}

void CaptureJournal::punted(const Lane& lane) noexcept {
    if (punt_) punt_->write({lane.bytes, lane.length}, clock_.now());
    settle(lane, 0);
}

void CaptureJournal::freed(const Lane& lane) noexcept { settle(lane, 0); }

void CaptureJournal::passed(std::uint64_t number, std::span<const std::byte> packet) noexcept {
    if (punt_) punt_->write(packet, clock_.now());
    settle(number, {.verdict = Verdict::punt()});
}

void CaptureJournal::settle(const Lane& lane, std::uint64_t out) noexcept {
    const std::uint64_t number = static_cast<const MemoryBuffer*>(lane.buffer)->tag;
    if (number == 0) return;
    settle(number, {.verdict = lane.verdict, .service = lane.service(), .handle = lane.handle, .out = out});
}

void CaptureJournal::settle(std::uint64_t number, const Fate& fate) noexcept {
    fates_[number - 1] = fate;
    --held_;
}

Status CaptureJournal::close() {
    for (auto* writer : {&out_, &punt_}) {
        if (!*writer) continue;
        if (auto closed = (*writer)->close(); !closed) return closed;
    }
    return Done{};
}

}  // namespace shunt::dataplane
