#ifndef PENSTOCK_BROKER_RPC_WHERE_READER_H_
#define PENSTOCK_BROKER_RPC_WHERE_READER_H_

#include <string_view>
#include <vector>

#include "broker/rpc/where.h"

namespace penstock::broker {

// Reads a payload once, from its beginning to its end, and tells which tests of a condition its values pass. Builds no
// tree: it keeps only the way to the value at hand, as far as a path of the condition goes.
class WhereReader {
 public:
  // False: it is no JSON. Of a field that comes twice in one object the last counts.
  static bool Read(const Where& where, std::string_view payload, std::vector<bool>* results);

 private:
  class Handler;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WHERE_READER_H_
