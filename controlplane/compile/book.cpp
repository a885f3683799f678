#include "controlplane/compile/book.h"

#include <optional>

namespace shunt::controlplane {
namespace {

// One number as published: its key if it is in force, its history if it is retired; nothing if it was never used.
template <class Pool, class Key>
void restore(Pool& pool, std::uint32_t number, const std::optional<Key>& key, std::uint32_t uses,
             std::int64_t retired_at) {
    if (key) pool.restore(number, key, {uses, {}});
    if (!key && retired_at != 0) pool.restore(number, key, {uses, {retired_at}});
}

void read_services(Book& book, const shm::Tables& tables) {
    for (std::uint32_t i = 1; i < tables.services.count(); ++i) {
        const shm::ServiceRecord& service = tables.services[i];
        std::optional<std::string> name;
        if (const auto text = shm::name_of(service); !text.empty()) name = text;
        restore(book.services, i, name, 0, service.retired_at);
    }
}

void read_listeners(Book& book, const shm::Tables& tables) {
    for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
        const shm::ListenerRecord& l = tables.listeners[i];
        std::optional<ServiceVip> key;
        if (l.in_use) key = {l.service, {l.address, l.ports(), l.protocol}};
        restore(book.listeners, i, key, 0, l.retired_at);
    }
}

void read_handles(Book& book, const shm::Tables& tables) {
    book.awaited.resize(tables.backends.count());
    for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
        const shm::BackendRecord& b = tables.backends[i];
        std::optional<ServiceEndpoint> key;
        if (b.status != shm::BackendStatus::absent) key = {b.service, {b.address, b.port, b.protocol}};
        restore(book.handles, i, key, b.incarnation, b.retired_at);
        book.awaited[i] = b.awaited != 0;
    }
}

void read_sources(Book& book, const shm::Tables& tables) {
    for (std::uint32_t i = 1; i < tables.sources.count(); ++i) {
        const shm::SourceRecord& s = tables.sources[i];
        std::optional<Endpoint> key;
        if (s.count != 0) key = {s.address, s.port, s.protocol};
        restore(book.sources, i, key, 0, s.retired_at);
    }
}

void read_hops(Book& book, const shm::Tables& tables) {
    const auto hops = tables.next_hops();
    for (std::uint32_t i = 1; i < hops.size(); ++i) {
        std::optional<Hop> key;
        if (hops[i].version != 0 && hops[i].retired_at == 0) key = {hops[i].address, hops[i].port};
        restore(book.hops, i, key, hops[i].version - 1U, hops[i].retired_at);
    }
}

}  // namespace

Book Book::read(const shm::Tables& tables) {
    Book book;
    read_services(book, tables);
    read_listeners(book, tables);
    read_handles(book, tables);
    read_sources(book, tables);
    read_hops(book, tables);
    return book;
}

void Book::begin() {
    services.begin();
    listeners.begin();
    handles.begin();
    sources.begin();
    hops.begin();
}

void Book::undo() {
    services.undo();
    listeners.undo();
    handles.undo();
    sources.undo();
    hops.undo();
}

std::map<BackendName, shm::Verdict> read_verdicts(const shm::Tables& tables) {
    std::map<BackendName, shm::Verdict> verdicts;
    for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
        const shm::BackendRecord& b = tables.backends[i];
        const auto verdict = static_cast<shm::Verdict>(b.verdict);
        if (b.status == shm::BackendStatus::absent || verdict == shm::Verdict::unchecked) continue;
        const std::string service(shm::name_of(tables.services[b.service.value]));
        verdicts.insert_or_assign({service, b.address, b.configured_port}, verdict);
    }
    return verdicts;
}

}  // namespace shunt::controlplane
