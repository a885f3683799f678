// One generation as a reader sees it. Every access stays inside what the root names: an index out of range, a zero
// offset or an empty page gives a record of zeros, which means "none". So what validation established holds again by
// construction at use (DESIGN section 3).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "src/base/prefetch.h"
#include "src/shm/layout.h"

namespace shunt::shm {

namespace detail {
// What "none" looks like. Large enough for every record.
alignas(2 * cache_line_bytes) inline constexpr std::array<std::byte, 2 * cache_line_bytes> zeros{};
}  // namespace detail

template <class Record>
class PagedArray {
  public:
    PagedArray() = default;
    PagedArray(const std::byte* region, const PagedArrayRef& ref) noexcept
        : region_(region),
          pages_(ref.page_table ? payload(region, ref.page_table) : nullptr),
          count_(ref.page_table ? ref.count : 0) {}

    const Record& operator[](std::uint32_t index) const noexcept {
        if (index < count_) [[likely]] {
            const std::uint64_t page = pages_[index / records_per_page];
            if (page != 0) [[likely]]
                return *(reinterpret_cast<const Record*>(region_ + page + sizeof(BlockHeader)) +
                         index % records_per_page);
        }
        return none();
    }
    std::uint32_t count() const noexcept { return count_; }

  private:
    static const std::uint64_t* payload(const std::byte* region, BlockOffset offset) noexcept {
        return reinterpret_cast<const std::uint64_t*>(region + offset + sizeof(BlockHeader));
    }
    static const Record& none() noexcept {
        static_assert(sizeof(Record) <= sizeof(detail::zeros));
        return *reinterpret_cast<const Record*>(detail::zeros.data());
    }

    const std::byte* region_{};
    const std::uint64_t* pages_{};
    std::uint32_t count_{};
};

class EndpointMap {
  public:
    EndpointMap() = default;
    EndpointMap(const std::byte* region, const EndpointMapRef& ref) noexcept;

    // Where the entry of this key is, unless another one of its page came before it.
    const EndpointSlot* first_slot(const IpAddress& address, Be16 port, Protocol protocol) const noexcept {
        const std::uint64_t hash = endpoint_hash(address, port, protocol);
        return page(hash) + hash % slots_per_page;
    }
    static bool holds(const EndpointSlot& slot, const IpAddress& address, Be16 port, Protocol protocol) noexcept {
        struct Rest {  // of the key, as it stands behind the address
            Be16 port;
            Protocol protocol;
            std::uint8_t used;
        };
        const Rest wanted{port, protocol, 1}, there{slot.port, slot.protocol, slot.used};
        return std::bit_cast<std::uint32_t>(wanted) == std::bit_cast<std::uint32_t>(there) && slot.address == address;
    }
    // 0: not there.
    std::uint32_t find(const IpAddress& address, Be16 port, Protocol protocol) const noexcept {
        const std::uint64_t hash = endpoint_hash(address, port, protocol);
        const EndpointSlot* slots = page(hash);
        for (std::uint32_t i = 0; i < slots_per_page; ++i) {
            const EndpointSlot& slot = slots[(hash + i) % slots_per_page];
            if (holds(slot, address, port, protocol)) return slot.value;
            if (!slot.used) return 0;
        }
        return 0;
    }
    // Calls f(const EndpointSlot&) for every entry, in no order.
    template <class F>
    void for_each(F&& f) const {
        for (std::uint64_t i = 0; i < std::uint64_t{1} << bits_; ++i) {
            if (pages_[i] == 0) continue;
            const std::span<const EndpointSlot> slots(slots_at(pages_[i]), slots_per_page);
            for (const EndpointSlot& slot : slots) {
                if (slot.used) f(slot);
            }
        }
    }

  private:
    static constexpr std::uint64_t no_page = 0;
    static constexpr std::array<EndpointSlot, slots_per_page> empty_page{};

    const EndpointSlot* slots_at(BlockOffset page) const noexcept {
        return reinterpret_cast<const EndpointSlot*>(region_ + page + sizeof(BlockHeader));
    }
    const EndpointSlot* page(std::uint64_t hash) const noexcept {
        const std::uint64_t offset = pages_[hash >> 1 >> shift_];
        if (offset != 0) [[likely]]
            return slots_at(offset);
        return empty_page.data();
    }

    const std::byte* region_{};
    const std::uint64_t* pages_{&no_page};
    std::uint32_t bits_{};
    std::uint32_t shift_{63};  // of what is left of a hash after one bit: the number of a page has `bits_`
};

// The keys under which a map counts the endpoints of an address, whatever their port; with a protocol any_port stands
// for all ports of an endpoint.
constexpr Be16 any_port{0};
constexpr Protocol any_protocol{0};  // no packet's: port 0 of TCP is a port like any other

class Tables {
  public:
    Tables() = default;  // generation 0: nothing was ever published
    // `root` lies in `region` and was validated.
    Tables(const std::byte* region, const Root& root) noexcept;

    Generation generation() const noexcept { return generation_; }
    const HashSeed& site_seed() const noexcept { return site_seed_; }

    PagedArray<ServiceRecord> services;
    PagedArray<ListenerRecord> listeners;
    PagedArray<BackendRecord> backends;  // by handle index
    PagedArray<SourceRecord> sources;
    EndpointMap listener_map;
    EndpointMap range_map;
    EndpointMap source_map;
    EndpointMap local_map;
    EndpointMap tunnel_map;

    // The backend a handle names, or a record of status `absent` if that incarnation is gone.
    const BackendRecord& backend(Handle handle) const noexcept {
        const BackendRecord& record = backends[handle.index()];
        if (record.incarnation == handle.incarnation()) [[likely]]
            return record;
        return backends[0];
    }
    // The listener of an endpoint: that of the very port, else of the narrowest range that has it; 0: none.
    ListenerIndex listener_of(const IpAddress& address, Be16 port, Protocol protocol) const noexcept {
        const std::uint32_t found = listener_map.find(address, port, protocol);
        return found != 0 ? ListenerIndex(static_cast<std::uint16_t>(found))
                          : listener_of_many(address, port, protocol);
    }
    // A backend's endpoint as replies carry it: with this very port, else with any, if a listener that leads there has
    // this one; 0: none. What else the machine sends, as a client or from its other ports, is no reply.
    SourceNumber source_of(const IpAddress& address, Be16 port, Protocol protocol) const noexcept {
        const std::uint32_t found = source_map.find(address, port, protocol);
        if (found != 0) return SourceNumber(found);
        const std::uint32_t any = source_map.find(address, any_port, protocol);
        return SourceNumber(any != 0 && may_keep(sources[any], port) ? any : 0);
    }
    bool is_local(const IpAddress& address) const noexcept {
        return local_map.find(address, any_port, any_protocol) != 0;
    }
    // Might a packet between these be a service's, as far as addresses can say? For packets whose ports are hidden.
    bool may_be_a_services(const IpAddress& source, const IpAddress& destination) const noexcept {
        if (listener_map.find(destination, any_port, any_protocol) != 0) return true;
        return !is_local(destination) && source_map.find(source, any_port, any_protocol) != 0;
    }
    // Is it the far end of a tunnel of ours?
    bool is_tunnel_end(const IpAddress& address) const noexcept {
        return tunnel_map.find(address, any_port, any_protocol) != 0;
    }
    // Outer source of tunnels of this family; unspecified if there is none.
    const IpAddress& tunnel_source(Family family) const noexcept {
        return tunnel_source_[family == Family::ipv4 ? 0 : 1];
    }
    // The slots and handles of a listener; empty if no backend is eligible.
    std::span<const std::uint16_t> slots(const ListenerRecord& listener) const noexcept {
        return listener.slots ? array<std::uint16_t>(listener.slots, listener.table_size)
                              : std::span<const std::uint16_t>{};
    }
    std::span<const Handle> handles(const ListenerRecord& listener) const noexcept {
        return listener.handles ? array<Handle>(listener.handles, listener.backends) : std::span<const Handle>{};
    }
    // What the listener's choice goes by beside the slots; empty if that is nothing.
    std::span<const std::uint16_t> numbers(const ListenerRecord& listener) const noexcept {
        return listener.numbers ? array<std::uint16_t>(listener.numbers, listener.number_count)
                                : std::span<const std::uint16_t>{};
    }
    // Chooses the slot of a packet from client to VIP: under the site's seed, of what the listener's affinity sees.
    std::uint64_t hash(const ListenerRecord& listener, const FiveTuple& tuple) const noexcept {
        return hash_tuple(site_seed_, seen_by(listener.affinity, tuple));
    }
    // Asks for what choose() will read.
    void prefetch_choice(const ListenerRecord& listener, std::uint64_t hash) const noexcept {
        if (listener.slots == 0) return;
        shunt::prefetch(&slots(listener)[scale_hash(hash, listener.table_size)]);
        shunt::prefetch(handles(listener).data());
    }
    // The backend the listener's table gives this flow; handle 0 if there is none. `hash` as above.
    Handle choose(const ListenerRecord& listener, std::uint64_t hash) const noexcept;

    NextHopIndex route(const IpAddress& destination) const noexcept;  // 0: no route
    const NextHopRecord& next_hop(NextHopIndex index) const noexcept {
        return next_hops_[index.value < next_hops_.size() ? index.value : 0];
    }
    std::span<const NextHopRecord> next_hops() const noexcept { return next_hops_; }

  private:
    template <class T>
    std::span<const T> array(BlockOffset offset, std::size_t count) const noexcept {
        return {reinterpret_cast<const T*>(region_ + offset + sizeof(BlockHeader)), count};
    }
    bool may_keep(const SourceRecord& source, Be16 port) const noexcept;
    ListenerIndex listener_of_many(const IpAddress& address, Be16 port, Protocol protocol) const noexcept;
    std::uint32_t walk(std::span<const TrieNode> trie, std::span<const std::uint8_t> bytes) const noexcept;

    const std::byte* region_{};
    Generation generation_{};
    HashSeed site_seed_{};
    std::array<IpAddress, 2> tunnel_source_{};
    std::span<const TrieNode> routes_v4_;
    std::span<const TrieNode> routes_v6_;
    std::span<const NextHopRecord> next_hops_;
};

// The name of a service as text.
inline std::string_view name_of(const ServiceRecord& service) noexcept {
    const std::string_view all(service.name.data(), service.name.size());
    return all.substr(0, all.find('\0'));
}

}  // namespace shunt::shm
