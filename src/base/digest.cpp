#include "base/digest.hpp"

#include <isa-l/crc.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/byte_order.hpp"
#include "base/crc32c.hpp"
#include "base/ensure.hpp"

namespace duplex {

namespace {

struct Entry {
    std::string_view name;
    size_t size_bytes;
    const EVP_MD* (*evp)();
};

constexpr std::array<Entry, 7> table{{
    {"crc32", 4, nullptr},
    {"crc32c", 4, nullptr},
    {"md5", 16, EVP_md5},
    {"sha1", 20, EVP_sha1},
    {"sha256", 32, EVP_sha256},
    {"sha384", 48, EVP_sha384},
    {"sha512", 64, EVP_sha512},
}};

const Entry& entry(DigestAlgorithm algorithm) {
    return table[static_cast<size_t>(algorithm)];
}

}  // namespace

bool DigestValue::equals(std::span<const uint8_t> other) const {
    return other.size() == size && CRYPTO_memcmp(bytes.data(), other.data(), size) == 0;
}

std::optional<DigestAlgorithm> digest_from_name(std::string_view name) {
    for (size_t i = 0; i < table.size(); ++i)
        if (table[i].name == name) return static_cast<DigestAlgorithm>(i);
    return std::nullopt;
}

std::string_view name_of(DigestAlgorithm algorithm) {
    return entry(algorithm).name;
}

size_t digest_size_bytes(DigestAlgorithm algorithm) {
    return entry(algorithm).size_bytes;
}

DigestValue digest(DigestAlgorithm algorithm, std::span<const uint8_t> data) {
    DigestValue value;
    value.size = digest_size_bytes(algorithm);
    if (algorithm == DigestAlgorithm::crc32c) {
        store_le<uint32_t>(value.bytes.data(), crc32c(data));
    } else if (algorithm == DigestAlgorithm::crc32) {
        // The kernel's crc32: init 0 and no final xor. ISA-L inverts at both ends, so invert its seed and
        // result.
        store_le<uint32_t>(value.bytes.data(), ~crc32_gzip_refl(0xffffffff, data.data(), data.size()));
    } else {
        unsigned size = 0;
        const int done =
            EVP_Digest(data.data(), data.size(), value.bytes.data(), &size, entry(algorithm).evp(), nullptr);
        ensure(done == 1 && size == value.size);
    }
    return value;
}

bool can_hmac(DigestAlgorithm algorithm) {
    return entry(algorithm).evp != nullptr;
}

DigestValue hmac(DigestAlgorithm algorithm, std::string_view secret, std::span<const uint8_t> message) {
    ensure(can_hmac(algorithm));
    DigestValue value;
    unsigned size = 0;
    const uint8_t* done = HMAC(entry(algorithm).evp(), secret.data(), static_cast<int>(secret.size()),
                               message.data(), message.size(), value.bytes.data(), &size);
    ensure(done != nullptr && size == digest_size_bytes(algorithm));
    value.size = size;
    return value;
}

}  // namespace duplex
