// penstock-histcheck FILE...: judges histories. Exit code 0: every promise was kept; 1: one was not; 2: a file cannot
// be read.

#include <fstream>
#include <iostream>

#include "tests/checker/checker.h"

int main(int argc, char** argv) {
  int exit_code = argc > 1 ? 0 : 2;
  if (argc < 2) std::cerr << "usage: penstock-histcheck HISTORY.jsonl...\n";
  for (int i = 1; i < argc; ++i) {
    penstock::histcheck::History history;
    std::string error;
    std::ifstream in(argv[i], std::ios::binary);
    if (!in || !penstock::histcheck::Read(in, &history, &error)) {
      std::cerr << argv[i] << ": " << (error.empty() ? "cannot be opened" : error) << "\n";
      return 2;
    }
    const penstock::histcheck::Verdict verdict = penstock::histcheck::Check(history);
    std::cout << argv[i] << ": lines=" << history.size() << " tasks=" << verdict.tasks
              << " deliveries=" << verdict.deliveries << " redeliveries=" << verdict.redeliveries
              << " completions=" << verdict.completions << " refusals=" << verdict.refusals
              << " violations=" << verdict.violations.size() << "\n";
    for (const auto& violation : verdict.violations) {
      std::cout << "  " << violation.rule << ": " << violation.what << "\n";
      for (size_t line : violation.lines) {
        std::cout << "    " << line << ": " << penstock::histcheck::ToJson(history[line - 1]) << "\n";
      }
    }
    if (!verdict.violations.empty()) exit_code = 1;
  }
  return exit_code;
}
