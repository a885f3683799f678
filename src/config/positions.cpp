#include "src/config/positions.h"

namespace shunt::config {
namespace {

void put(Error& error, const std::string& file, Place place) {
    error.file = file;
    error.line = place.line;
    error.column = place.column;
}

}  // namespace

void Positions::add(std::string pointer, Place key, Place value) {
    entries_.insert_or_assign(std::move(pointer), Entry{key, value});
}

const Positions::Entry* Positions::find(std::string_view pointer) const {
    for (;;) {
        if (const auto found = entries_.find(std::string(pointer)); found != entries_.end()) return &found->second;
        if (pointer.empty()) return nullptr;
        pointer = pointer.substr(0, pointer.rfind('/'));
    }
}

void Positions::locate(Error& error) const {
    const Entry* entry = find(error.pointer);
    put(error, file_, entry ? entry->value : Place{});
}

void Positions::locate_key(Error& error) const {
    const Entry* entry = find(error.pointer);
    put(error, file_, entry ? entry->key : Place{});
}

}  // namespace shunt::config
