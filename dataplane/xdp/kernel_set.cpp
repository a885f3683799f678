#include "dataplane/xdp/kernel_set.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace shunt::dataplane::xdp {

SetKeys::SetKeys(std::vector<SetKey> keys) : keys_(std::move(keys)) {
    std::sort(keys_.begin(), keys_.end());
    keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
}

SetKeys SetKeys::without(const SetKeys& others) const {
    SetKeys rest;
    std::set_difference(keys_.begin(), keys_.end(), others.keys_.begin(), others.keys_.end(),
                        std::back_inserter(rest.keys_));
    return rest;
}

void SetKeys::add(const SetKeys& others) {
    if (others.keys_.empty()) return;
    std::vector<SetKey> all;
    all.reserve(keys_.size() + others.keys_.size());
    std::set_union(keys_.begin(), keys_.end(), others.keys_.begin(), others.keys_.end(), std::back_inserter(all));
    keys_ = std::move(all);
}

Error KernelSet::failure(const std::string& what, int error) const {
    Error result{.message = name_ + ": " + what + ": " + std::strerror(error)};
    if (error == E2BIG) result.message = name_ + ": " + what + ": it is full with " + std::to_string(size());
    if (error == EPERM) result.remedy = needed_rights;
    return result;
}

Result<KernelSet> KernelSet::open(const Interface& interface, const Program& program, const std::string& map) {
    auto descriptor = map_of(interface, program, map);
    if (!descriptor) return descriptor.error();
    KernelSet set("interface " + interface.name + ", steering map " + map, *std::move(descriptor));
    std::vector<SetKey> keys;
    SetKey key;
    const void* previous = nullptr;
    while (bpf_map_get_next_key(set.map_.get(), previous, key.bytes.data()) == 0) {
        keys.push_back(key);
        previous = key.bytes.data();
    }
    if (errno != ENOENT) return set.failure("cannot be read", errno);
    set.keys_ = SetKeys(std::move(keys));
    return set;
}

Status KernelSet::add(const SetKeys& wanted) {
    const SetKeys missing = wanted.without(keys_);
    std::vector<SetKey> added;
    for (const auto& key : missing.sorted()) {
        const std::uint8_t present = 1;
        if (bpf_map_update_elem(map_.get(), key.bytes.data(), &present, BPF_ANY) != 0) {
            const int error = errno;
            keys_.add(SetKeys(std::move(added)));
            return failure("cannot take another entry", error);
        }
        added.push_back(key);
    }
    keys_.add(SetKeys(std::move(added)));
    return Done{};
}

Status KernelSet::keep_only(const SetKeys& wanted) {
    const SetKeys unwanted = keys_.without(wanted);
    for (const auto& key : unwanted.sorted()) {
        if (bpf_map_delete_elem(map_.get(), key.bytes.data()) != 0 && errno != ENOENT) {
            return failure("cannot give an entry up", errno);
        }
    }
    keys_ = keys_.without(unwanted);
    return Done{};
}

}  // namespace shunt::dataplane::xdp
