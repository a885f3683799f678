#include "controlplane/sync/datagram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

namespace shunt::controlplane::sync {
namespace {

constexpr std::uint32_t magic = 0x53485359;  // "SHSY"
constexpr std::size_t most_name_bytes = 63;

class Writer {
  public:
    explicit Writer(std::vector<std::byte>& out) : out_(out) {}

    template <class T>
    void put(T value) {
        for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
            out_.push_back(static_cast<std::byte>(std::uint64_t{value} >> shift));
        }
    }
    void text(std::string_view text) {
        const std::string_view kept = text.substr(0, most_name_bytes);
        put(static_cast<std::uint8_t>(kept.size()));
        for (const char c : kept) out_.push_back(static_cast<std::byte>(c));
    }
    void address(const IpAddress& address) {
        const auto whole = address.bytes();
        const auto bytes = std::as_bytes(std::span(whole));
        for (const std::byte byte : address.is_v4() ? bytes.last(4) : bytes) out_.push_back(byte);
    }

  private:
    std::vector<std::byte>& out_;
};

// Reading beyond the end gives zeros, and is remembered.
class Reader {
  public:
    explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}

    template <class T>
    T get() {
        std::uint64_t value = 0;
        for (const std::byte byte : take(sizeof(T))) value = value << 8 | static_cast<std::uint8_t>(byte);
        return static_cast<T>(value);
    }
    std::string text() {
        std::string text;
        for (const std::byte byte : take(get<std::uint8_t>())) text.push_back(static_cast<char>(byte));
        const auto is_plain = [](char c) { return c > ' ' && c <= '~'; };
        if (text.size() > most_name_bytes || !std::ranges::all_of(text, is_plain)) good_ = false;
        return text;
    }
    IpAddress address(bool v4) {
        std::array<std::byte, sizeof(IpAddress::Bytes)> bytes{};
        std::ranges::copy(take(v4 ? 4 : 16), bytes.begin());
        const IpAddress address = v4 ? IpAddress::load_v4(bytes.data()) : IpAddress::load_v6(bytes.data());
        if (address.is_v4() != v4) good_ = false;
        return address;
    }
    void refuse() { good_ = false; }
    bool good() const { return good_; }
    // All was well, and nothing is left.
    bool finished() const { return good_ && left_.empty(); }

  private:
    std::span<const std::byte> take(std::size_t count) {
        if (count > left_.size()) good_ = false;
        if (!good_) return {};
        const auto taken = left_.first(count);
        left_ = left_.subspan(count);
        return taken;
    }

    std::span<const std::byte> left_;
    bool good_{true};
};

void write(Writer& out, const FlowRecord& r) {
    const unsigned family = r.client.is_v4() ? 4 : 6;
    out.put(static_cast<std::uint8_t>(family << 2 | static_cast<unsigned>(r.state)));
    out.put(static_cast<std::uint8_t>(r.protocol));
    out.put(r.client_port.host());
    out.put(r.vip_port.host());
    out.put(r.backend_port.host());
    out.put(r.idle);
    for (const IpAddress& address : {r.client, r.vip, r.backend}) out.address(address);
}

FlowRecord read_record(Reader& in) {
    FlowRecord r;
    const auto first = in.get<std::uint8_t>();
    if (first >> 2 != 4 && first >> 2 != 6) in.refuse();
    r.state = static_cast<shm::FlowState>(first & 3);
    r.protocol = static_cast<Protocol>(in.get<std::uint8_t>());
    if (r.protocol != Protocol::tcp && r.protocol != Protocol::udp) in.refuse();
    r.client_port = Be16(in.get<std::uint16_t>());
    r.vip_port = Be16(in.get<std::uint16_t>());
    r.backend_port = Be16(in.get<std::uint16_t>());
    r.idle = in.get<std::uint32_t>();
    const bool v4 = first >> 2 == 4;
    r.client = in.address(v4);
    r.vip = in.address(v4);
    r.backend = in.address(v4);
    return r;
}

void write(Writer& out, const std::vector<FlowRecord>& records) {
    out.put(static_cast<std::uint16_t>(records.size()));
    for (const FlowRecord& record : records) write(out, record);
}

std::vector<FlowRecord> read_records(Reader& in) {
    std::vector<FlowRecord> records;
    for (auto left = in.get<std::uint16_t>(); left > 0 && in.good(); --left) records.push_back(read_record(in));
    return records;
}

void write(Writer& out, const Hello& h) {
    for (const std::uint64_t word :
         {h.nonce, h.answer, h.identity.seed, h.identity.configuration, h.tables, h.received}) {
        out.put(word);
    }
    out.put(h.lag_ms);
    out.put(static_cast<std::uint8_t>(h.in_sync));
    out.text(h.name);
    out.text(h.software);
}
void write(Writer& out, const Flows& f) {
    out.put(f.first);
    write(out, f.records);
}
void write(Writer& out, const Ask& a) {
    out.put(a.space);
    out.put(a.position);
}
void write(Writer& out, const Chunk& c) {
    for (const std::uint64_t word : {c.space, c.position, c.next, c.end}) out.put(word);
    write(out, c.records);
}

Hello read_hello(Reader& in) {
    Hello h;
    for (auto* word : {&h.nonce, &h.answer, &h.identity.seed, &h.identity.configuration, &h.tables, &h.received}) {
        *word = in.get<std::uint64_t>();
    }
    h.lag_ms = in.get<std::uint32_t>();
    const auto in_sync = in.get<std::uint8_t>();
    if (in_sync > 1) in.refuse();
    h.in_sync = in_sync == 1;
    h.name = in.text();
    h.software = in.text();
    return h;
}

std::optional<Body> read_body(Reader& in, std::uint8_t kind) {
    switch (kind) {
        case 0:
            return read_hello(in);
        case 1: {
            const auto first = in.get<std::uint64_t>();
            return Flows{first, read_records(in)};
        }
        case 2: {
            const auto space = in.get<std::uint64_t>();
            return Ask{space, in.get<std::uint64_t>()};
        }
        case 3: {
            Chunk c;
            for (auto* word : {&c.space, &c.position, &c.next, &c.end}) *word = in.get<std::uint64_t>();
            c.records = read_records(in);
            return c;
        }
        default:
            return std::nullopt;
    }
}

}  // namespace

std::array<std::byte, mac_bytes> Key::sign(std::span<const std::byte> bytes) const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> whole{};
    unsigned size = 0;
    HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
         reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), whole.data(), &size);
    std::array<std::byte, mac_bytes> mac{};
    std::memcpy(mac.data(), whole.data(), mac.size());
    return mac;
}

std::uint64_t Key::word(std::span<const std::byte> bytes) const {
    std::uint64_t word = 0;
    std::memcpy(&word, sign(bytes).data(), sizeof word);
    return word;
}

std::uint64_t group_number(std::string_view name) { return XXH64(name.data(), name.size(), 0); }

std::size_t record_bytes(const FlowRecord& record) { return record.client.is_v4() ? 24 : 60; }

std::vector<std::byte> seal(const Key& key, std::uint64_t group, const Datagram& datagram) {
    std::vector<std::byte> bytes;
    bytes.reserve(most_bytes);
    Writer out(bytes);
    out.put(magic);
    out.put(protocol_version);
    out.put(static_cast<std::uint8_t>(datagram.body.index()));
    out.put(static_cast<std::uint8_t>(datagram.to_group));
    for (const std::uint64_t word : {group, datagram.from, datagram.to, datagram.sequence}) out.put(word);
    std::visit([&out](const auto& body) { write(out, body); }, datagram.body);
    const auto mac = key.sign(bytes);
    bytes.insert(bytes.end(), mac.begin(), mac.end());
    return bytes;
}

std::variant<Datagram, Refusal> open(const Key& key, std::uint64_t group, std::span<const std::byte> bytes) {
    if (bytes.size() < header_bytes + mac_bytes) return Refusal::truncated;
    const auto signed_bytes = bytes.first(bytes.size() - mac_bytes);
    Reader in(signed_bytes);
    if (in.get<std::uint32_t>() != magic) return Refusal::foreign;
    if (in.get<std::uint16_t>() != protocol_version) return Refusal::version;
    const auto kind = in.get<std::uint8_t>();
    const auto to_group = in.get<std::uint8_t>();
    if (in.get<std::uint64_t>() != group) return Refusal::group;
    const auto mac = key.sign(signed_bytes);
    if (CRYPTO_memcmp(mac.data(), bytes.last(mac_bytes).data(), mac_bytes) != 0) return Refusal::forged;

    Datagram datagram;
    datagram.to_group = to_group != 0;
    for (auto* word : {&datagram.from, &datagram.to, &datagram.sequence}) *word = in.get<std::uint64_t>();
    auto body = read_body(in, kind);
    if (!body || !in.finished()) return Refusal::truncated;
    datagram.body = *std::move(body);
    return datagram;
}

}  // namespace shunt::controlplane::sync
