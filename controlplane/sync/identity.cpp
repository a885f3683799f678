#include "controlplane/sync/identity.h"

#include <xxhash.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace shunt::controlplane::sync {
namespace {

std::uint64_t hash_of(const std::string& text) { return XXH64(text.data(), text.size(), 0); }

// The order in which things are written down says nothing.
template <class T, class F>
std::string listed(const std::vector<T>& values, F text_of) {
    std::vector<std::string> texts;
    for (const T& value : values) texts.push_back(text_of(value));
    std::ranges::sort(texts);
    std::string all;
    for (const std::string& text : texts) all += text + "\n";
    return all;
}

std::string text_of(const config::Service& s) {
    const auto number = [](auto value) { return std::to_string(static_cast<int>(value)) + " "; };
    return s.name + " " + number(s.mode) + number(s.scheduler) + number(s.effective_affinity()) + number(s.flows) +
           listed(s.vips, [](const Vip& vip) { return vip.text(); }) +
           listed(s.backends, [](const config::Backend& backend) { return backend.key(); });
}

}  // namespace

std::uint64_t seed_fingerprint(const Key& key, const HashSeed& seed) {
    std::vector<std::uint64_t> words{0x73656564};  // not what anything else is signed with
    words.insert(words.end(), seed.words.begin(), seed.words.end());
    return key.word(std::as_bytes(std::span(words)));
}

std::uint64_t configuration_hash(const config::DesiredState& state) { return hash_of(listed(state.services, text_of)); }

std::uint64_t tables_hash(const shm::Tables& tables) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 1; i < tables.services.count(); ++i) {
        const shm::ServiceRecord& service = tables.services[i];
        if (service.name[0] == '\0' || service.retired_at != 0) continue;
        std::string text(name_of(service));
        for (const std::uint64_t hash : service.table_hash) text += " " + std::to_string(hash);
        sum += hash_of(text);
    }
    return sum;
}

}  // namespace shunt::controlplane::sync
