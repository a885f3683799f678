#include "dataplane/xdp/kernel_set.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace shunt::dataplane::xdp {

Error KernelSet::failure(const std::string& what, int error) const {
    Error result{.message = name_ + ": " + what + ": " + std::strerror(error)};
    if (error == E2BIG) result.message = name_ + ": " + what + ": it is full with " + std::to_string(keys_.size());
    if (error == EPERM) result.remedy = needed_rights;
    return result;
}

Result<KernelSet> KernelSet::open(const Interface& interface, const Program& program, const std::string& map) {
    auto descriptor = map_of(interface, program, map);
    if (!descriptor) return descriptor.error();
    KernelSet set("interface " + interface.name + ", steering map " + map, *std::move(descriptor));
    SetKey key;
    const void* previous = nullptr;
    while (bpf_map_get_next_key(set.map_.get(), previous, key.bytes.data()) == 0) {
        set.keys_.insert(key);
        previous = key.bytes.data();
    }
    if (errno != ENOENT) return set.failure("cannot be read", errno);
    return set;
}

Status KernelSet::add(const SetKey& key) {
    if (keys_.contains(key)) return Done{};
    const std::uint8_t present = 1;
    if (bpf_map_update_elem(map_.get(), key.bytes.data(), &present, BPF_ANY) != 0) {
        return failure("cannot take another entry", errno);
    }
    keys_.insert(key);
    return Done{};
}

Status KernelSet::keep_only(const SetKeys& wanted) {
    for (auto key = keys_.begin(); key != keys_.end();) {
        if (wanted.contains(*key)) {
            ++key;
            continue;
        }
        if (bpf_map_delete_elem(map_.get(), key->bytes.data()) != 0 && errno != ENOENT) {
            return failure("cannot give an entry up", errno);
        }
        key = keys_.erase(key);
    }
    return Done{};
}

}  // namespace shunt::dataplane::xdp
