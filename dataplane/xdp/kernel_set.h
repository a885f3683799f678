// A hash map of the kernel used as a set of keys, with a copy here that saves asking it: nobody else writes to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>

#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/program.h"
#include "dataplane/xdp/steer_maps.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

// Any key of steer_maps.h; what is beyond its size is zero, and the kernel reads no further than its size.
struct SetKey {
    std::array<std::uint8_t, sizeof(steer_endpoint)> bytes{};

    template <class Key>
    static SetKey of(const Key& key) noexcept {
        static_assert(std::has_unique_object_representations_v<Key> && sizeof(Key) <= sizeof(SetKey));
        SetKey result;
        std::memcpy(result.bytes.data(), &key, sizeof key);
        return result;
    }
    friend bool operator==(const SetKey&, const SetKey&) noexcept = default;
};

struct SetKeyHash {
    std::size_t operator()(const SetKey& key) const noexcept {
        return std::hash<std::string_view>()({reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()});
    }
};

using SetKeys = std::unordered_set<SetKey, SetKeyHash>;

class KernelSet {
  public:
    // Reads what the map holds already.
    static Result<KernelSet> open(const Interface& interface, const Program& program, const std::string& map);

    Status add(const SetKey& key);
    // Removes every key that is not wanted.
    Status keep_only(const SetKeys& wanted);
    const SetKeys& keys() const noexcept { return keys_; }

  private:
    KernelSet(std::string name, Descriptor map) : name_(std::move(name)), map_(std::move(map)) {}
    Error failure(const std::string& what, int error) const;

    std::string name_;  // for errors: interface and map
    Descriptor map_;
    SetKeys keys_;
};

}  // namespace shunt::dataplane::xdp
