#include "controlplane/compile/admission.h"

#include <algorithm>
#include <string>

#include "src/balance/schedule.h"

namespace shunt::controlplane {
namespace {

shm::BackendStatus status_of(const config::Backend& backend, shm::Verdict verdict, bool awaited) {
    if (backend.state == config::BackendState::maint) return shm::BackendStatus::maint;
    if (verdict == shm::Verdict::down || awaited) return shm::BackendStatus::down;
    if (backend.state == config::BackendState::drain || backend.weight == 0) return shm::BackendStatus::drain;
    return shm::BackendStatus::ready;
}

std::vector<std::uint32_t> ready_in_key_order(const config::Service& service, Family vip,
                                              std::span<const Admission> admissions) {
    std::vector<std::pair<std::string, std::uint32_t>> ready;
    for (std::uint32_t b = 0; b < service.backends.size(); ++b) {
        const config::Backend& backend = service.backends[b];
        const bool usable = can_serve(service.mode, vip, backend.address.family());
        if (usable && admissions[b].status == shm::BackendStatus::ready) ready.emplace_back(backend.key(), b);
    }
    std::sort(ready.begin(), ready.end());
    std::vector<std::uint32_t> positions;
    for (const auto& entry : ready) positions.push_back(entry.second);
    return positions;
}

}  // namespace

std::vector<Admission> admit(const config::Service& service, std::span<const shm::Verdict> verdicts,
                             std::span<const Past> past) {
    const auto verdict_of = [&](std::size_t b) {
        return service.check && b < verdicts.size() ? verdicts[b] : shm::Verdict::unchecked;
    };
    bool anything_checked = false;
    for (std::size_t b = 0; b < service.backends.size(); ++b) {
        anything_checked |= verdict_of(b) != shm::Verdict::unchecked;
    }
    std::vector<Admission> admissions;
    for (std::size_t b = 0; b < service.backends.size(); ++b) {
        const shm::Verdict verdict = verdict_of(b);
        const bool waits = past[b] == Past::awaited || (past[b] == Past::unknown && anything_checked);
        const bool awaited = service.check && verdict == shm::Verdict::unchecked && waits;
        admissions.push_back({verdict, awaited, status_of(service.backends[b], verdict, awaited)});
    }
    return admissions;
}

Result<FamilyTable> make_table(const config::Service& service, Family vip, std::span<const Admission> admissions,
                               const FamilyTable& before) {
    FamilyTable table;
    table.backends = ready_in_key_order(service, vip, admissions);
    table.scheduler = service.scheduler;
    table.table_size = service.table_size.value_or(default_table_size(service.backends.size()));
    for (const std::uint32_t b : table.backends) table.members.push_back(service.backends[b]);
    if (table.members.empty()) return table;
    if (table.table_size > shm::max_slots || table.members.size() > table.table_size || !is_prime(table.table_size)) {
        return Error{.message = "service \"" + service.name + "\": a table of " + std::to_string(table.table_size) +
                                " slots cannot hold " + std::to_string(table.members.size()) + " backends",
                     .remedy = "let table_size be a prime, not below the number of backends and not above " +
                               std::to_string(shm::max_slots),
                     .key = "service." + service.name + ".table_size"};
    }
    if (table.members == before.members && table.table_size == before.table_size &&
        table.scheduler == before.scheduler) {
        table.slots = before.slots;
        table.numbers = before.numbers;
        table.hash = before.hash;
        return table;
    }
    std::vector<WeightedKey> keys;
    for (const config::Backend& member : table.members) keys.push_back({member.key(), member.weight});
    using Numbers = std::vector<std::uint16_t>;
    table.slots = std::make_shared<const Numbers>(slot_table(service.scheduler, keys, table.table_size));
    Numbers numbers = choice_numbers(service.scheduler, keys);
    if (!numbers.empty()) table.numbers = std::make_shared<const Numbers>(std::move(numbers));
    table.hash = table_hash(keys, *table.slots);
    return table;
}

}  // namespace shunt::controlplane
