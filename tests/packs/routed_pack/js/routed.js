export const name = "routed_pack";
