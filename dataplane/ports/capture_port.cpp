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
    const std::int64_t nanoseconds = static_cast<std::int64_t>(header->ts.tv_sec) * 1'000'000'000 + header->ts.tv_usec;
    return std::optional(
        Packet{std::as_bytes(std::span(bytes, std::min(header->caplen, header->len))), Instant{nanoseconds}});
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

Result<std::optional<Instant>> CapturePort::advance() {
    auto packet = in_.next();
    if (!packet) return packet.error();
    if (!packet->has_value()) return std::optional<Instant>{};
    time_ = (*packet)->time;
    if (!inject((*packet)->bytes)) {
        return Error{.message = "a packet of " + std::to_string((*packet)->bytes.size()) + " bytes is too long",
                     .remedy = "at most " + std::to_string(MemoryBuffer::capacity) + " bytes are handled"};
    }
    return std::optional(time_);
}

void CapturePort::flush() noexcept {
    for (const MemoryBuffer* buffer : sent()) {
        if (out_) out_->write(buffer->bytes(), time_);
    }
    for (const MemoryBuffer* buffer : punted()) {
        if (punt_) punt_->write(buffer->bytes(), time_);
    }
    clear_output();
}

Status CapturePort::close() {
    for (auto* writer : {&out_, &punt_}) {
        if (!*writer) continue;
        if (auto closed = (*writer)->close(); !closed) return closed;
    }
    return Done{};
}

}  // namespace shunt::dataplane
