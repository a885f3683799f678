#include "controlplane/compile/endpoint_table.h"

#include <algorithm>
#include <numeric>

#include "src/base/assert.h"

namespace shunt::controlplane {
namespace {

// A page is about half full, and rarely has more than the 48 entries that it may have.
constexpr std::uint32_t entries_per_page = 24;
constexpr std::uint32_t max_bits = 20;

std::uint64_t hash_of(const Endpoint& e) { return shm::endpoint_hash(e.address, e.port, e.protocol); }

std::size_t page_of(std::uint64_t hash, std::uint32_t bits) { return bits == 0 ? 0 : hash >> (64 - bits); }

Endpoint any_of(const IpAddress& address) { return {address, shm::any_port, shm::any_protocol}; }

Endpoint endpoint_of(const shm::EndpointSlot& slot) { return {slot.address, slot.port, slot.protocol}; }

std::vector<shm::EndpointSlot> entries_of(const EndpointTable::Page& page) {
    std::vector<shm::EndpointSlot> entries;
    std::copy_if(page.begin(), page.end(), std::back_inserter(entries), [](const auto& slot) { return slot.used; });
    return entries;
}

// Linear probing from the home slot, in the order of the keys: the same entries always give the same page.
EndpointTable::Page page_with(std::vector<shm::EndpointSlot> entries) {
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return endpoint_of(a) < endpoint_of(b); });
    EndpointTable::Page page{};
    for (const shm::EndpointSlot& entry : entries) {
        std::size_t at = hash_of(endpoint_of(entry)) % shm::slots_per_page;
        while (page[at].used) at = (at + 1) % shm::slots_per_page;
        page[at] = entry;
    }
    return page;
}

}  // namespace

std::uint32_t EndpointTable::find(const Endpoint& endpoint) const noexcept {
    if (pages_.empty()) return 0;
    const std::uint64_t hash = hash_of(endpoint);
    const Page& page = pages_[page_of(hash, bits_)];
    for (std::size_t at = hash % shm::slots_per_page; page[at].used; at = (at + 1) % shm::slots_per_page) {
        if (endpoint_of(page[at]) == endpoint) return page[at].value;
    }
    return 0;
}

void EndpointTable::set(const Endpoint& endpoint, std::uint32_t value) {
    if (pages_.empty()) resize(0);
    const std::size_t number = page_of(hash_of(endpoint), bits_);
    Page& page = pages_[number];
    std::vector<shm::EndpointSlot> entries = entries_of(page);
    std::erase_if(entries, [&](const auto& slot) { return endpoint_of(slot) == endpoint; });
    if (value != 0) entries.push_back({endpoint.address, endpoint.port, endpoint.protocol, 1, value});

    const auto count = static_cast<std::uint32_t>(entries.size());
    entries_ += count - used_[number];
    used_[number] = count;
    page = page_with(std::move(entries));
    settle_size(count > shm::max_used_slots_per_page);
}

void EndpointTable::add_counted(const Endpoint& endpoint, std::uint32_t value) {
    if (find(endpoint) == 0) count_up(endpoint.address);
    set(endpoint, value);
}

void EndpointTable::remove_counted(const Endpoint& endpoint) {
    if (find(endpoint) == 0) return;
    count_down(endpoint.address);
    set(endpoint, 0);
}

void EndpointTable::count_up(const IpAddress& address) { set(any_of(address), find(any_of(address)) + 1); }
void EndpointTable::count_down(const IpAddress& address) { set(any_of(address), find(any_of(address)) - 1); }

// The smallest size that fits: a function of the entries alone, too.
void EndpointTable::settle_size(bool overfull) {
    if (entries_ == 0) {
        *this = {};
        return;
    }
    std::uint32_t bits = 0;
    while (entries_ > entries_per_page << bits) ++bits;
    if (bits == bits_ && !overfull) return;
    while (!fits(bits)) ++bits;
    if (bits != bits_) resize(bits);
}

bool EndpointTable::fits(std::uint32_t bits) const {
    SHUNT_ASSERT(bits <= max_bits);
    if (bits <= bits_) {  // a page of fewer is some of these, side by side
        const auto together = std::ptrdiff_t{1} << (bits_ - bits);
        for (auto page = used_.begin(); page != used_.end(); page += together) {
            if (std::accumulate(page, page + together, 0U) > shm::max_used_slots_per_page) return false;
        }
        return true;
    }
    std::vector<std::uint32_t> used(std::size_t{1} << bits);
    for (const Page& page : pages_) {
        for (const shm::EndpointSlot& slot : page) {
            if (slot.used && ++used[page_of(hash_of(endpoint_of(slot)), bits)] > shm::max_used_slots_per_page)
                return false;
        }
    }
    return true;
}

void EndpointTable::resize(std::uint32_t bits) {
    std::vector<std::vector<shm::EndpointSlot>> entries(std::size_t{1} << bits);
    for (const Page& page : pages_) {
        for (const shm::EndpointSlot& slot : entries_of(page)) {
            entries[page_of(hash_of(endpoint_of(slot)), bits)].push_back(slot);
        }
    }
    bits_ = bits;
    pages_.clear();
    used_.clear();
    for (auto& of_page : entries) {
        used_.push_back(static_cast<std::uint32_t>(of_page.size()));
        pages_.push_back(page_with(std::move(of_page)));
    }
}

}  // namespace shunt::controlplane
