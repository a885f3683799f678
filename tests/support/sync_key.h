// A key for tests of flow sync.
#pragma once

#include <span>
#include <string>

#include "controlplane/sync/datagram.h"

namespace shunt::test {

inline controlplane::sync::Key sync_key(char fill = 'k') {
    const std::string secret(32, fill);
    return controlplane::sync::Key(std::as_bytes(std::span(secret)));
}

}  // namespace shunt::test
